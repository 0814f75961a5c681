//! One server's sources: who its parent is, and what each source gives in one look.

use std::path::PathBuf;

use rustix::process::{Pid as RawPid, getpgid, getpgrp, getpid, setpgid};

use super::{
    children::Children,
    discovery::{self, Found, Signature},
    moments::{Moments, absolute},
    pid_file::{self, PidFile},
    process_table::{ProcessTable, Row},
    scoreboard::ScoreboardReader,
};
use crate::model::{
    process::{Pid, ProcessId, ProcessState},
    snapshot::{ParentSighting, PidFileStamp, ServerSnapshot, Trace, TraceKind},
    source::Why,
    time::Moment,
};

/// How a server is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The pid file that an operator named, or that discovery found.
    pub pid_file: Option<PathBuf>,
    /// The name of the program, where it is not httpd's or a distribution's.
    pub program: Option<PathBuf>,
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
}

/// Reads one server.
#[derive(Debug)]
pub struct ServerObserver {
    number: usize,
    target: Target,
    parent: Option<ProcessId>,
    configuration: Option<PathBuf>,
    children: Children,
    /// Why the pid file names nobody, said once.
    doubt: Option<String>,
}

impl ServerObserver {
    /// An observer that has seen nothing; `number` marks this server's traces.
    #[must_use]
    pub fn new(number: usize, target: Target) -> Self {
        let pid_file = target.pid_file.as_deref().map(absolute);
        Self {
            number,
            target: Target { pid_file, ..target },
            parent: None,
            configuration: None,
            children: Children::default(),
            doubt: None,
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

    /// Why the pid file names nobody, if that is new.
    pub fn new_doubt(&mut self, doubt: Option<String>) -> Option<&str> {
        if self.doubt == doubt {
            return None;
        }
        self.doubt = doubt;
        self.doubt.as_deref()
    }

    /// One look. `found`: parents that discovery sees now.
    pub fn look(
        &mut self,
        at: Moment,
        traces: Vec<Trace>,
        found: &[Found],
        instruments: &mut Instruments<'_>,
    ) -> (ServerSnapshot, Option<String>) {
        for trace in &traces {
            self.children.notice(trace.kind, at.uptime);
        }
        let doubt = self.identify(at, &traces, found, instruments);
        if let Some(path) = &self.target.pid_file {
            instruments.moments.watch_pid_file(self.number, path);
        }
        if let Some(path) = &self.configuration {
            instruments.moments.watch_configuration(self.number, path);
        }
        let parent = self.parent.map(|id| self.sight(id, at, instruments));
        let seen = parent.as_ref().and_then(|parent| parent.processes.seen());
        let Instruments { table, moments, .. } = instruments;
        let fates = self.children.fates(self.parent, seen, at.uptime, table, moments);
        let statuses = fates.statuses;
        (ServerSnapshot { at, traces, parent, orphans: fates.orphans, statuses }, doubt)
    }

    /// The order matters: a parent that had written its pid file, and whose signal mask then was
    /// that of a running one, has its final scoreboard.
    fn sight(
        &mut self,
        id: ProcessId,
        at: Moment,
        instruments: &mut Instruments<'_>,
    ) -> ParentSighting {
        let pid_file = self.stamp(id);
        let Instruments { table, moments, scoreboards } = instruments;
        let processes = self.children.read_parent(self.number, id, at.uptime, table, moments);
        let scoreboard = scoreboards.read(id);
        ParentSighting { id, processes, scoreboard, pid_file }
    }

    fn stamp(&self, id: ProcessId) -> Option<PidFileStamp> {
        let file = pid_file::read(self.target.pid_file.as_deref()?).ok()?;
        (file.pid == id.pid).then_some(file.stamp)
    }

    /// A parent once identified stays until it ends, whatever the pid file says later.
    fn identify(
        &mut self,
        at: Moment,
        traces: &[Trace],
        found: &[Found],
        instruments: &mut Instruments<'_>,
    ) -> Option<String> {
        if let Some(id) = self.parent {
            let ended = traces.iter().any(|trace| trace.kind == TraceKind::Exited(id))
                || !instruments.moments.holds(&id) && has_ended(instruments.table, id);
            if !ended {
                return None;
            }
            self.parent = None;
        }
        let (candidate, doubt) = match self.by_pid_file(at, instruments.table) {
            Ok(named) => (named, None),
            Err(doubt) => (None, Some(doubt)),
        };
        let candidate = candidate.or_else(|| self.by_signature(found));
        if let Some(found) = candidate {
            self.adopt(&found, instruments);
            return None;
        }
        doubt
    }

    fn by_pid_file(&self, at: Moment, table: &ProcessTable) -> Result<Option<Found>, String> {
        let Some(path) = &self.target.pid_file else {
            return Ok(None);
        };
        let PidFile { pid, stamp } = pid_file::read(path).map_err(|error| error.to_string())?;
        let row = match table.row(pid) {
            Ok(row) => row,
            Err(Why::Missing) => return Err(format!("there is no process {pid}")),
            Err(why) => return Err(format!("process {pid} cannot be read: {}", why.label())),
        };
        if !is_written_by(&row, stamp, at) {
            return Err(format!("process {pid} is younger than the pid file"));
        }
        discovery::named_parent(table, &row, self.target.program.as_deref())
            .map(Some)
            .ok_or_else(|| format!("process {pid} is no parent of an httpd"))
    }

    /// A server that was seen before, or that discovery found, is known without a pid file.
    fn by_signature(&self, found: &[Found]) -> Option<Found> {
        let signature = self.target.signature.as_ref()?;
        let mut same = found.iter().filter(|parent| parent.signature == *signature);
        same.next().cloned()
    }

    fn adopt(&mut self, found: &Found, instruments: &mut Instruments<'_>) {
        let Instruments { table, moments, .. } = instruments;
        let confirm = |pid| table.row(pid).ok().map(|row: Row| row.id);
        if !moments.hold(self.number, found.id, confirm) && has_ended(table, found.id) {
            return;
        }
        leave_process_group(found.id.pid);
        self.parent = Some(found.id);
        self.configuration.clone_from(&found.signature.configuration);
        if self.target.pid_file.is_none() {
            self.target.pid_file = discovery::pid_file(found);
        }
        self.target.signature = Some(found.signature.clone());
    }
}

fn has_ended(table: &ProcessTable, id: ProcessId) -> bool {
    match table.row(id.pid) {
        Ok(row) => row.id != id || row.state == ProcessState::Ended,
        Err(why) => why == Why::Missing,
    }
}

/// httpd writes its pid file itself, so a process that is younger is somebody else.
fn is_written_by(row: &Row, stamp: PidFileStamp, at: Moment) -> bool {
    // The start time is exact to a clock tick, the calendar may have been adjusted by as much.
    let slack = std::time::Duration::from_secs(1);
    at.at_uptime(row.id.started) <= at.at_wall(stamp.written).after(slack)
}

/// prefork signals its whole process group, which must not be ours.
fn leave_process_group(parent: Pid) {
    let Some(parent) = RawPid::from_raw(parent.as_raw()) else {
        return;
    };
    if getpgid(Some(parent)).is_ok_and(|group| group == getpgrp()) && getpgrp() != getpid() {
        // A session leader cannot, and its group cannot be httpd's either.
        let _ = setpgid(None, None);
    }
}
