//! What one look saw of one server: the only thing that trackers are given.

use serde::{Deserialize, Serialize};

use super::{
    drift::DriftSample,
    log::LogReport,
    process::{Child, ExitStatus, ProcessId, ProcessTable},
    resources::Resources,
    scoreboard::Scoreboard,
    server_status::StatusSighting,
    source::Why,
    time::{Moment, Timestamp},
    waiting::Starting,
};

/// What a source gave in this look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<T> {
    /// It was read.
    Seen(T),
    /// It could not be read: never a default value.
    Unseen(Why),
}

/// A trace that the kernel stamped between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// When.
    pub at: Moment,
    /// What.
    pub kind: TraceKind,
}

/// What happened, without saying yet what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceKind {
    /// Somebody opened the main configuration: httpd about 1 ms after a restart's signal, a configtest too.
    ConfigOpened,
    /// The pid file was written: httpd does so last before it resumes.
    PidFileWritten,
    /// The pid file was removed: httpd does so when it stops.
    PidFileRemoved,
    /// The parent, or a process that is or was its child, ended.
    Exited(ProcessId),
    /// Its parent took note of the end of a child, before anything that is stamped after this in
    /// the same look. Where that order is not certain, there is no such trace.
    Reaped(ProcessId),
    /// The parent had not yet taken note of the end of a child, after everything that is stamped
    /// before this.
    Lingers(ProcessId),
}

/// The pid file as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidFileStamp {
    /// Its modification time, set by the kernel as httpd writes it.
    pub written: Timestamp,
    /// Its inode: new at each restart since 2.4.47.
    pub inode: u64,
}

/// A parent that was alive, or not yet reaped, during this look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentSighting {
    /// Who it is.
    pub id: ProcessId,
    /// Its rows of the process table.
    pub processes: Part<ProcessTable>,
    /// What its scoreboard says.
    pub scoreboard: Part<Scoreboard>,
    /// The pid file, while there is one that names this parent.
    pub pid_file: Option<PidFileStamp>,
}

/// One look at one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSnapshot {
    /// When the look began: everything in it was read after this moment.
    pub at: Moment,
    /// What happened since the last look, in the order in which it was stamped.
    pub traces: Vec<Trace>,
    /// The parent that runs now, if one was found.
    pub parent: Option<ParentSighting>,
    /// Why none could be found although there may be one: it is hidden.
    pub hidden: Option<Why>,
    /// An httpd of this server that is starting, while there is no parent.
    pub starting: Option<Starting>,
    /// Former children that still live and are not among the parent's children.
    pub orphans: Vec<Child>,
    /// What came into the error log since the last look; `None` if none is wanted now.
    pub log: Option<Part<LogReport>>,
    /// What `mod_status` answered, if it did since the last look.
    pub status: Option<StatusSighting>,
    /// How processes ended that exited in this or an earlier look; `None` where the kernel does
    /// not tell and never will.
    pub statuses: Vec<(ProcessId, Option<ExitStatus>)>,
    /// A parent has ended since the last look, and the pid file still names it: it did not clean up.
    pub pid_file_left: bool,
    /// What was seen of memory, descriptors, limits and sockets.
    pub resources: Resources,
    /// What was seen of files and of what httpd holds of them.
    pub drift: DriftSample,
}

impl<T> Part<T> {
    /// The value, if it was read.
    #[must_use]
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Unseen(_) => None,
        }
    }

    /// Whether it was read, without what was.
    #[must_use]
    pub const fn answered(&self) -> Part<()> {
        match self {
            Self::Seen(_) => Part::Seen(()),
            Self::Unseen(why) => Part::Unseen(*why),
        }
    }
}

impl ServerSnapshot {
    /// The kernel reported the end of this process since the last look.
    #[must_use]
    pub fn has_exited(&self, id: ProcessId) -> bool {
        self.traces.iter().any(|trace| trace.kind == TraceKind::Exited(id))
    }
}
