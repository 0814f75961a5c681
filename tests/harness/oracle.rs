//! What a private httpd really did: lifecycle lines of its own log, and the pidfds of the processes
//! that a [`Recorder`] saw. It shares nothing with `src`.
//!
//! What its times mean:
//!
//! - a line's time is httpd's own, in microseconds; an exit's is seen within a scan (2 ms)
//! - event announces a hard restart before it ends its children, worker and prefork after: there
//!   `began` is when the last child was gone, up to 10 s after the signal
//! - a stop's line (AH00491) is written when all children are gone
//! - a piped log may lose the line that announces a restart, and the line of a stop, under any MPM:
//!   httpd ends the old logger before that has read its pipe to the end. Under prefork it always
//!   loses that of a hard restart, whose SIGHUP goes to the logger too. Such a restart is told from
//!   its second line; kind and `began` are then those of the signal that the harness sent

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use super::error_log::{Entry, ErrorLog, Lifecycle};
use super::eventually::eventually;
use super::process::Process;
use super::recorder::{Recorder, Role, Sighting};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartKind {
    Graceful,
    Hard,
    /// A piped log lost the line and the signal was somebody else's.
    Unannounced,
}

#[derive(Clone, Debug)]
pub(crate) struct OracleRestart {
    pub(crate) kind: RestartKind,
    pub(crate) parent: u32,
    /// The time of the restart's line, see the module on what it means.
    pub(crate) began: SystemTime,
    /// The time of the line "resuming normal operations"; none of a restart that failed or hangs.
    pub(crate) resumed: Option<SystemTime>,
    /// The one that it began.
    pub(crate) generation: u32,
}

impl OracleRestart {
    /// Between the two lines.
    pub(crate) fn duration(&self) -> Option<Duration> {
        self.resumed?.duration_since(self.began).ok()
    }
}

/// A parent that came up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OracleStart {
    pub(crate) parent: u32,
    pub(crate) resumed: SystemTime,
}

/// A child that serves requests, with the generation it was forked in.
#[derive(Clone, Debug)]
pub(crate) struct OracleChild {
    pub(crate) generation: u32,
    pub(crate) seen: Sighting,
}

impl OracleChild {
    pub(crate) fn pid(&self) -> u32 {
        self.seen.identity.pid
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.seen.exited.is_none()
    }
}

/// The end of one generation after a graceful restart.
#[derive(Clone, Debug)]
pub(crate) struct OracleDrain {
    pub(crate) start: SystemTime,
    /// The last exit; none while one of the children lives.
    pub(crate) end: Option<SystemTime>,
    /// Those of the generation that were alive at the restart's line.
    pub(crate) children: Vec<OracleChild>,
}

pub(crate) struct Oracle {
    recorder: Recorder,
    log: ErrorLog,
    signals: Mutex<Vec<SentSignal>>,
}

/// A signal that the harness sent to a parent.
struct SentSignal {
    parent: u32,
    at: SystemTime,
    signal: Signal,
}

impl Oracle {
    pub(super) fn new(log: ErrorLog) -> Self {
        Self { recorder: Recorder::start(), log, signals: Mutex::default() }
    }

    /// Returns when every child that was forked before the call has been seen, so that none of them
    /// is taken for one of a generation that is yet to begin.
    pub(super) fn catch_up(&self) {
        self.recorder.wait_for_whole_round();
    }

    pub(super) fn note_signal(&self, parent: u32, signal: Signal) {
        let sent = SentSignal { parent, at: SystemTime::now(), signal };
        self.signals.lock().unwrap().push(sent);
    }

    pub(super) fn watch(&self, parent: Process) {
        self.recorder.watch(parent);
    }

    /// Restarts of all parents, in the order of their lines.
    pub(crate) fn restarts(&self) -> Vec<OracleRestart> {
        restarts_in(&self.log.entries(), &self.signals.lock().unwrap())
    }

    /// Those that resumed.
    pub(crate) fn completed_restarts(&self) -> Vec<OracleRestart> {
        self.restarts().into_iter().filter(|restart| restart.resumed.is_some()).collect()
    }

    /// Waits until so many restarts have resumed since the first start, and returns all of them.
    #[track_caller]
    pub(crate) fn after_restarts(&self, count: usize) -> Vec<OracleRestart> {
        eventually(&format!("{count} restarts are completed"), || {
            Some(self.completed_restarts()).filter(|restarts| restarts.len() >= count)
        })
    }

    /// Every "resuming normal operations" that ended no restart.
    pub(crate) fn starts(&self) -> Vec<OracleStart> {
        let mut starts: Vec<OracleStart> = Vec::new();
        for entry in self.log.entries() {
            let is_known = starts.iter().any(|start| start.parent == entry.pid);
            if entry.lifecycle() == Some(Lifecycle::Resumed) && !is_known {
                starts.push(OracleStart { parent: entry.pid, resumed: entry.at });
            }
        }
        starts
    }

    /// Parent, children, `mod_cgid`'s daemons, loggers: all that was ever seen.
    pub(crate) fn processes(&self) -> Vec<Sighting> {
        self.recorder.sightings()
    }

    /// Every child that ever served requests, the dead ones included.
    pub(crate) fn children(&self) -> Vec<OracleChild> {
        // The log is read after: the lines before each fork are then in it.
        let processes = self.processes();
        let restarts = self.restarts();
        processes
            .into_iter()
            .filter(|sighting| sighting.role == Role::Worker)
            .map(|seen| OracleChild { generation: generation_of(&seen, &restarts), seen })
            .collect()
    }

    pub(crate) fn living_children(&self) -> Vec<OracleChild> {
        self.children().into_iter().filter(OracleChild::is_alive).collect()
    }

    pub(crate) fn living_pids(&self) -> Vec<u32> {
        self.living_children().iter().map(OracleChild::pid).collect()
    }

    /// The last exit of these children; none while one of them lives.
    pub(crate) fn drain_end(&self, pids: &[u32]) -> Option<SystemTime> {
        let children = self.children();
        let exits = pids.iter().map(|pid| {
            let child = children.iter().rev().find(|child| child.pid() == *pid);
            child.unwrap_or_else(|| panic!("{pid} was never a child")).seen.exited
        });
        exits.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The drain that the restart at this place of [`Self::restarts`] began: of the generation that
    /// it made old. None if the restart was not graceful or that generation had no child.
    pub(crate) fn drain(&self, index: usize) -> Option<OracleDrain> {
        let restart = self.restarts().into_iter().nth(index)?;
        let children: Vec<OracleChild> = self
            .children()
            .into_iter()
            .filter(|child| child.seen.parent == restart.parent)
            .filter(|child| child.generation + 1 == restart.generation)
            .filter(|child| child.seen.exited.is_none_or(|exited| exited > restart.began))
            .collect();
        if restart.kind != RestartKind::Graceful || children.is_empty() {
            return None;
        }
        let exits: Option<Vec<SystemTime>> =
            children.iter().map(|child| child.seen.exited).collect();
        let end = exits.and_then(|exits| exits.into_iter().max());
        Some(OracleDrain { start: restart.began, end, children })
    }
}

fn restarts_in(entries: &[Entry], signals: &[SentSignal]) -> Vec<OracleRestart> {
    let mut restarts: Vec<OracleRestart> = Vec::new();
    let mut started = BTreeSet::new();
    for entry in entries {
        let (kind, began, resumed) = match entry.lifecycle() {
            Some(Lifecycle::Graceful) => (RestartKind::Graceful, entry.at, None),
            Some(Lifecycle::Hard) => (RestartKind::Hard, entry.at, None),
            Some(Lifecycle::Resumed) if started.insert(entry.pid) => continue,
            Some(Lifecycle::Resumed) => {
                let own = restarts.iter_mut().rev().find(|restart| restart.parent == entry.pid);
                let since = own.as_ref().and_then(|restart| restart.resumed);
                if let Some(announced) = own.filter(|restart| restart.resumed.is_none()) {
                    announced.resumed = Some(entry.at);
                    continue;
                }
                let (kind, began) = announced_by_signal(signals, entry, since);
                (kind, began, Some(entry.at))
            }
            Some(Lifecycle::Stopped | Lifecycle::StoppingGracefully) | None => continue,
        };
        let earlier = restarts.iter().filter(|restart| restart.parent == entry.pid).count();
        restarts.push(OracleRestart {
            kind,
            parent: entry.pid,
            began,
            resumed,
            generation: u32::try_from(earlier).unwrap() + 1,
        });
    }
    restarts
}

/// What the harness asked this parent for between its last resuming and this one.
fn announced_by_signal(
    signals: &[SentSignal],
    resumed: &Entry,
    since: Option<SystemTime>,
) -> (RestartKind, SystemTime) {
    let sent = || {
        signals
            .iter()
            .filter(|sent| sent.parent == resumed.pid && sent.at < resumed.at)
            .filter(|sent| since.is_none_or(|since| sent.at > since))
    };
    let first = |signal: Signal| sent().find(|sent| sent.signal == signal).map(|sent| sent.at);
    // Both without a gap are one hard restart.
    if let Some(at) = first(Signal::HUP) {
        return (RestartKind::Hard, at);
    }
    match first(Signal::USR1) {
        Some(at) => (RestartKind::Graceful, at),
        None => (RestartKind::Unannounced, resumed.at),
    }
}

/// Nothing is forked between a restart's line and the end of its reading the configuration, so the
/// lines divide the forks into generations. A child that httpd forks less than a scan before a
/// restart that was not [`Oracle::catch_up`]'s is taken for the new one's; `mod_status` knows better.
fn generation_of(sighting: &Sighting, restarts: &[OracleRestart]) -> u32 {
    restarts
        .iter()
        .filter(|restart| restart.parent == sighting.parent && restart.began < sighting.forked_by)
        .map(|restart| restart.generation)
        .max()
        .unwrap_or(0)
}
