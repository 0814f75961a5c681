//! One server's sources: who its parent is, and what each source gives in one look.

mod identify;
mod remember;
mod signature;
mod starting;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{identify::Doubt, remember::Past};
use super::{
    children::Children,
    discovery::{Found, Signature},
    moments::{Moments, absolute},
    pid_file,
    process_table::ProcessTable,
    scoreboard::ScoreboardReader,
};
use crate::model::{
    drift::DriftSample,
    process::{self, ProcessId},
    resources::Resources,
    snapshot::{ParentSighting, Part, PidFileStamp, ServerSnapshot, Trace, TraceKind},
    source::Why,
    time::Moment,
};

/// A parent writes its pid file some milliseconds before it catches signals. A look at its pid
/// file alone would miss it until the next regular one.
const CATCHES_SIGNALS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A parent that wrote its pid file has resumed, and its restart been given a type, within this time.
const TYPED_WITHIN: Duration = Duration::from_secs(2);

/// How a server is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The pid file that an operator named.
    pub pid_file: Option<PathBuf>,
    /// The name of the program, where it is not httpd's or a distribution's.
    pub program: Option<PathBuf>,
    /// The systemd unit that an operator named, without `.service`.
    pub unit: Option<String>,
    /// What discovery knows it by.
    pub signature: Option<Signature>,
}

/// What every observer of a look shares.
#[derive(Debug)]
pub struct Instruments<'a> {
    /// The process table.
    pub table: &'a ProcessTable,
    /// The kernel's reports.
    pub moments: &'a mut Moments,
    /// The reading process.
    pub scoreboards: &'a mut ScoreboardReader,
    /// What looks like an httpd that is starting.
    pub starting: &'a [Found],
}

/// Reads one server.
#[derive(Debug)]
pub struct ServerObserver {
    number: usize,
    target: Target,
    /// The pid file of a server for which nobody named one: that of its last parent.
    own_pid_file: Option<PathBuf>,
    parent: Option<ProcessId>,
    configuration: Option<PathBuf>,
    children: Children,
    /// Why the pid file names nobody, said once.
    doubt: Option<Doubt>,
    /// A look then will tell more.
    next_look: Option<Moment>,
    /// When a pid file was last compared with the configuration: reading that is itself reported
    /// as its opening, and would trigger the next look.
    compared: Option<Moment>,
    /// The scoreboard was not to be read for want of privileges.
    closed: bool,
    /// The pid file as it was in the last look.
    stamped: Option<PidFileStamp>,
    /// When a sign of a restart was last seen.
    restarted: Option<Moment>,
}

impl ServerObserver {
    /// An observer that has seen nothing; `number` marks this server's traces.
    #[must_use]
    pub fn new(number: usize, target: Target) -> Self {
        let pid_file = target.pid_file.as_deref().map(absolute);
        Self {
            number,
            target: Target { pid_file, ..target },
            own_pid_file: None,
            parent: None,
            configuration: None,
            children: Children::default(),
            doubt: None,
            next_look: None,
            compared: None,
            closed: false,
            stamped: None,
            restarted: None,
        }
    }

    /// The parent that lives, as far as is known.
    #[must_use]
    pub const fn parent(&self) -> Option<ProcessId> {
        self.parent
    }

    /// What this server is known by.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// httpd says that this is its pid file.
    pub fn learn_pid_file(&mut self, path: Option<PathBuf>) {
        let named = |path: &PathBuf| pid_file::read(path).ok().map(|file| file.pid);
        let own = self.parent.map(|parent| parent.pid);
        if self.pid_file().is_none() && own.is_some() {
            self.own_pid_file = path.filter(|path| named(path) == own);
        }
    }

    /// When a look will tell more than this one did, if nothing triggers one before.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Moment> {
        self.next_look
    }

    /// Why the pid file names nobody, if that is new.
    pub fn new_doubt(&mut self, doubt: Option<Doubt>) -> Option<&Doubt> {
        // Between a stop and a start a pid file that names nobody is no news.
        let doubt = doubt.filter(|_| self.target.signature.is_none());
        if self.doubt == doubt {
            return None;
        }
        self.doubt = doubt;
        self.doubt.as_ref()
    }

    /// Between two looks: the configuration was just opened, and who is stopped now may go on before
    /// the next look. Needed only where no scoreboard tells a restart's type.
    pub fn glance(&mut self, table: &ProcessTable) {
        if self.closed {
            self.children.glance(table);
        }
    }

    /// In the next look it is seen whether these children can make progress.
    pub fn attend_to(&mut self, old: impl Iterator<Item = ProcessId>) {
        self.children.attend_to(old);
    }

    /// One look. `found`: parents that discovery sees now.
    pub fn look(
        &mut self,
        at: Moment,
        traces: Vec<Trace>,
        found: &[Found],
        instruments: &mut Instruments<'_>,
    ) -> (ServerSnapshot, Option<Doubt>) {
        for trace in &traces {
            self.children.notice(trace.kind, at.uptime);
        }
        let known = self.parent;
        let doubt = self.identify(at, &traces, found, instruments);
        let ended = known.filter(|_| self.parent != known);
        let pid_file_left = ended
            .zip(self.pid_file())
            .is_some_and(|(id, path)| pid_file::read(path).is_ok_and(|file| file.pid == id.pid));
        self.next_look = self.is_about_to_serve(at).then(|| at.after(LOOK_AGAIN_AFTER));
        if let Some(path) = self.pid_file() {
            instruments.moments.watch_pid_file(self.number, path);
        }
        if let Some(path) = &self.configuration {
            instruments.moments.watch_configuration(self.number, path);
        }
        let parent = self.parent.map(|id| self.sight(id, at, &traces, instruments));
        let seen = parent.as_ref().and_then(|parent| parent.processes.seen());
        let starting = match self.parent {
            Some(_) => None,
            None => self.starting(at, instruments),
        };
        let Instruments { table, moments, .. } = instruments;
        let fates = self.children.fates(self.parent, seen, at.uptime, table, moments);
        let statuses = fates.statuses;
        let hidden = doubt.as_ref().and_then(|doubt| doubt.hidden);
        (
            ServerSnapshot {
                at,
                traces,
                parent,
                hidden,
                starting,
                orphans: fates.orphans,
                log: None,
                status: None,
                statuses,
                pid_file_left,
                resources: Resources::default(),
                drift: DriftSample::default(),
            },
            doubt,
        )
    }

    /// The order matters: a parent that had written its pid file, and whose signal mask then was
    /// that of a running one, has its final scoreboard.
    fn sight(
        &mut self,
        id: ProcessId,
        at: Moment,
        traces: &[Trace],
        instruments: &mut Instruments<'_>,
    ) -> ParentSighting {
        let pid_file = self.stamp(id);
        let Instruments { table, moments, scoreboards, .. } = instruments;
        let mut processes = self.children.read_parent(self.number, id, at.uptime, table, moments);
        if let Part::Seen(seen) = &mut processes {
            let recent = self.is_restarted_recently(at, traces, seen, pid_file);
            if self.closed {
                self.children.examine(seen, recent, table);
            }
        }
        let scoreboard = scoreboards.read(id);
        self.closed = matches!(scoreboard, Part::Unseen(Why::Permission | Why::Other));
        self.children.tell_daemons(self.closed);
        ParentSighting { id, processes, scoreboard, pid_file }
    }

    /// A restart may be over.
    fn is_restarted_recently(
        &mut self,
        at: Moment,
        traces: &[Trace],
        seen: &process::ProcessTable,
        pid_file: Option<PidFileStamp>,
    ) -> bool {
        let written = traces.iter().any(|trace| trace.kind == TraceKind::PidFileWritten);
        if written || pid_file != self.stamped || !seen.catches_crashes {
            self.restarted = Some(at);
        }
        self.stamped = pid_file;
        self.restarted.is_some_and(|restarted| at.since(restarted) < TYPED_WITHIN)
    }

    fn pid_file(&self) -> Option<&Path> {
        self.target.pid_file.as_deref().or(self.own_pid_file.as_deref())
    }

    fn is_about_to_serve(&self, at: Moment) -> bool {
        let path = self.pid_file().filter(|_| self.parent.is_none());
        let written = path.and_then(|path| pid_file::read(path).ok()).map(|it| it.stamp.written);
        written.is_some_and(|written| {
            let age = at.wall.as_micros().abs_diff(written.as_micros());
            u128::from(age) < CATCHES_SIGNALS_WITHIN.as_micros()
        })
    }

    fn stamp(&self, id: ProcessId) -> Option<PidFileStamp> {
        let file = pid_file::read(self.pid_file()?).ok()?;
        (file.pid == id.pid).then_some(file.stamp)
    }
}
