//! What was true when a parent last ran normally, and what a look proves against it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::look::Look;
use crate::model::{
    scoreboard::{Generation, Global},
    snapshot::{PidFileStamp, TraceKind},
    time::{Moment, Timestamp},
};

/// Between the pid file and the resuming lie some hundred microseconds: a hard restart makes its
/// scoreboard then, and writes the running generation into it.
pub(super) const RESUMES_WITHIN: Duration = Duration::from_millis(20);

/// What was true when the parent last ran normally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) at: Moment,
    pub(super) generation: Option<Generation>,
    pub(super) restart_time: Option<Timestamp>,
    /// The generation that was reached when the scoreboard was given up, and the restarts that
    /// were counted since: what it says when it is back is counted from there.
    pub(super) forgotten: Option<Generation>,
    /// Its `restart_time`, if none was counted since.
    pub(super) forgotten_time: Option<Timestamp>,
    pub(super) pid_file: Option<PidFileStamp>,
    /// `pid_file` is what the last restart left: a look reads it before the scoreboard, and may
    /// have found the one before.
    pub(super) pid_file_is_fresh: bool,
    pub(super) busy: u32,
}

impl Mark {
    /// What this look sees, of a parent that runs normally.
    pub(super) fn of(look: &Look<'_>) -> Self {
        let global = look.global();
        let lives = |pid| look.table.is_some_and(|table| table.living(pid).is_some());
        let living = look.slots().iter().filter(|slot| lives(slot.pid));
        let statuses = living.flat_map(|slot| &slot.workers);
        Self {
            at: look.at,
            generation: global.map(|global| global.running_generation),
            restart_time: global.map(|global| global.restart_time),
            forgotten: None,
            forgotten_time: None,
            pid_file: look.pid_file,
            pid_file_is_fresh: true,
            busy: statuses.filter(|(status, _)| status.is_busy()).map(|(_, count)| count).sum(),
        }
    }

    /// httpd counts its generations from zero; one before that stands for a restart that was joined.
    pub(super) fn is_plausible(&self) -> bool {
        let known = [self.generation, self.forgotten];
        known.into_iter().flatten().all(|generation| generation.number() >= -1)
    }

    /// What the scoreboard said is not compared with any more, until it is back.
    pub(super) fn forget_scoreboard(&mut self) {
        self.forgotten = self.generation.take().or(self.forgotten);
        self.forgotten_time = self.restart_time.take().or(self.forgotten_time);
    }

    /// The scoreboard is back: its generation tells how many restarts nobody counted, and, unless
    /// some were counted without it, its age of which type they were.
    pub(super) fn remember_scoreboard(&mut self) {
        self.generation = self.forgotten.take().or(self.generation);
        self.restart_time = self.forgotten_time.take().or(self.restart_time);
    }

    /// The same without a scoreboard, `count` restarts later.
    pub(super) fn unseen_since(from: &Self, count: u32, look: &Look<'_>) -> Self {
        let forgotten = from.forgotten.map(|generation| generation.advanced_by(count));
        let forgotten_time = from.forgotten_time.filter(|_| count == 0);
        Self { forgotten, forgotten_time, ..Self::of(look) }
    }

    /// The same, seen to be true for longer.
    pub(super) const fn still_true(self, at: Moment) -> Self {
        Self { at, ..self }
    }

    /// The scoreboard is the one that was seen then, and nothing in it moved.
    pub(super) fn is_of(&self, global: &Global) -> bool {
        self.generation == Some(global.running_generation)
            && self.restart_time == Some(global.restart_time)
    }

    /// The generation of one scoreboard only grows; this one fell.
    pub(super) fn has_fallen(&self, look: &Look<'_>) -> bool {
        look.global().is_some_and(|global| {
            self.restart_time == Some(global.restart_time)
                && self.generation.is_some_and(|before| global.running_generation < before)
        })
    }

    /// The pid file was written since: httpd does so after it has read its configuration.
    pub(super) fn is_rewritten(&self, look: &Look<'_>) -> bool {
        self.pid_file_is_fresh && look.pid_file.is_some() && look.pid_file != self.pid_file
    }

    /// Another file has its name now: httpd writes it so since 2.4.47, and nobody else does.
    pub(super) fn is_replaced(&self, look: &Look<'_>) -> bool {
        let before = self.pid_file.filter(|_| self.is_rewritten(look));
        before.zip(look.pid_file).is_some_and(|(before, now)| before.inode != now.inode)
    }

    /// There was a pid file then.
    pub(super) const fn had_pid_file(&self) -> bool {
        self.pid_file.is_some()
    }

    /// The earliest that anything tells of a signal taken since: a child that left, a worker's
    /// last words in the scoreboard, the configuration's opening; at the latest this look.
    pub(super) fn first_trace(&self, look: &Look<'_>) -> Moment {
        let traces = look.traces.iter().filter_map(|trace| match trace.kind {
            TraceKind::ConfigOpened | TraceKind::Exited(_) => Some(trace.at),
            // The end of this restart, or of the one before; or something that follows an end.
            TraceKind::PidFileWritten
            | TraceKind::PidFileRemoved
            | TraceKind::Reaped(_)
            | TraceKind::Lingers(_) => None,
        });
        let left = look.slots().iter().flat_map(|slot| &slot.workers_left);
        let last_words = left
            .map(|left| look.at.at_wall(*left))
            .filter(|left| *left > self.at && *left <= look.at);
        traces.chain(last_words).min().unwrap_or(look.at).min(look.at)
    }

    /// A parent that took a signal since, and does not read its configuration now, has resumed.
    ///
    /// A look reads the pid file, then the signal mask, then the scoreboard: a parent that had
    /// written the pid file and catches crashes again has a scoreboard that is final. `was_reading`:
    /// an earlier look saw it read for this signal. `shows_reading`: its mask tells when it reads.
    pub(super) fn has_resumed(
        &self,
        look: &Look<'_>,
        was_reading: bool,
        shows_reading: bool,
    ) -> bool {
        if look.table.is_none() {
            return false;
        }
        let done = |stamp| shows_reading || is_older(stamp, look);
        let written = self.is_rewritten(look) && done(look.pid_file.map(|it| it.written));
        let Some(global) = look.global() else {
            // Where the pid file cannot be seen either, only the signal mask tells.
            let unnamed = !self.had_pid_file() && look.pid_file.is_none();
            return self.generation.is_none() && (written || (was_reading && unnamed));
        };
        let proven = was_reading || serves(look, &global);
        match self.restart_time {
            Some(before) if before == global.restart_time => {
                let moved = self.generation.is_some_and(|from| global.running_generation > from);
                moved && (proven || written)
            }
            // For some microseconds a new scoreboard says generation 0.
            Some(_) => {
                let moved = self.generation.is_none_or(|from| global.running_generation >= from);
                moved && (proven || done(Some(global.restart_time)))
            }
            None => proven || written,
        }
    }

    /// Once the pid file is new the parent will resume at once, and nothing will tell. The wait
    /// doubles, so that a parent that hangs just there is not polled.
    pub(super) fn look_again(&self, look: &Look<'_>) -> Option<Moment> {
        let written = look.pid_file.filter(|_| self.is_rewritten(look))?.written;
        let written = look.at.at_wall(written);
        let waited = look.at.since(written);
        // A pid file from the future is one of a calendar that was set back.
        (written <= look.at && waited < Duration::from_secs(1))
            .then(|| look.at.after(waited.max(RESUMES_WITHIN)))
    }
}

/// What httpd does last in a restart, it has done by then: some releases do not change their
/// signal mask while they read the configuration.
fn is_older(stamp: Option<Timestamp>, look: &Look<'_>) -> bool {
    stamp.is_some_and(|stamp| look.at.since(look.at.at_wall(stamp)) > RESUMES_WITHIN)
}

/// A child of the running generation lives.
pub(super) fn serves(look: &Look<'_>, global: &Global) -> bool {
    look.table.is_some_and(|table| {
        let mut current =
            look.slots().iter().filter(|slot| slot.generation == global.running_generation);
        current.any(|slot| table.living(slot.pid).is_some())
    })
}
