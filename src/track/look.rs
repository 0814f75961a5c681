//! What the machines need of one snapshot, while a parent is known.

use crate::model::{
    process::{ExitStatus, ProcessId, ProcessTable},
    scoreboard::{Global, Scoreboard, SlotRecord},
    snapshot::{ParentSighting, PidFileStamp, ServerSnapshot, Trace, TraceKind},
    time::Moment,
};

/// One look at a living parent.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// When the look began.
    pub at: Moment,
    /// What the kernel stamped since the last look.
    pub traces: &'a [Trace],
    /// How processes ended, learned in this look.
    pub statuses: &'a [(ProcessId, Option<ExitStatus>)],
    /// Who the parent is.
    pub parent: ProcessId,
    /// Its rows of the process table, if they were read.
    pub table: Option<&'a ProcessTable>,
    /// Its scoreboard, if it was read.
    pub scoreboard: Option<&'a Scoreboard>,
    /// The pid file, while it names this parent.
    pub pid_file: Option<PidFileStamp>,
}

impl<'a> Look<'a> {
    /// The look at the parent that `snapshot` sighted.
    #[must_use]
    pub fn at_parent(snapshot: &'a ServerSnapshot, parent: &'a ParentSighting) -> Self {
        Self {
            at: snapshot.at,
            traces: &snapshot.traces,
            statuses: &snapshot.statuses,
            parent: parent.id,
            table: parent.processes.seen(),
            scoreboard: parent.scoreboard.seen(),
            pid_file: parent.pid_file,
        }
    }

    /// What does not depend on the release's layout.
    #[must_use]
    pub fn global(&self) -> Option<Global> {
        self.scoreboard.map(|scoreboard| scoreboard.global)
    }

    /// The slots in use; none while they are not proven.
    #[must_use]
    pub fn slots(&self) -> &'a [SlotRecord] {
        self.scoreboard.and_then(|scoreboard| scoreboard.slots.as_deref()).unwrap_or_default()
    }

    /// A process of this server ended.
    #[must_use]
    pub fn exits(&self) -> bool {
        self.traces.iter().any(|trace| matches!(trace.kind, TraceKind::Exited(_)))
    }

    /// When traces of this kind were stamped.
    pub fn moments(&self, kind: TraceKind) -> impl Iterator<Item = Moment> + 'a {
        self.traces.iter().filter(move |trace| trace.kind == kind).map(|trace| trace.at)
    }
}
