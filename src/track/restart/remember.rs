//! Restarts that nobody saw: what is kept of a parent from one run to the next, and what a look
//! makes of it.

use serde::{Deserialize, Serialize};

use super::{RestartTracker, State};
use crate::{
    model::{
        event::{Event, RestartType},
        scoreboard::Generation,
        time::{Moment, Timestamp, Uptime},
    },
    track::{
        family::Family,
        look::Look,
        mark::{Mark, RESUMES_WITHIN, serves},
        passage::Milestones,
        unserved::UnservedTracker,
    },
};

/// Of a first child that is awaited for longer nothing is left to be measured: it may have been
/// replaced.
const FIRST_CHILD_IS_AWAITED: std::time::Duration = std::time::Duration::from_secs(60);
/// Stands for the last look, which is kept once for all.
const LAST_LOOK: Moment =
    Moment { uptime: Uptime::from_micros(0), wall: Timestamp::from_micros(0) };

/// What is kept of a parent's restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is another fact of what was seen")]
pub(in crate::track) struct RestartMemory {
    state: State,
    /// What is in progress was found so: it began at any time since then.
    joined: Option<Moment>,
    /// What is in progress was so already when this parent was first seen.
    #[serde(default)]
    found_so: bool,
    /// Nobody saw the parent start.
    started_unseen: bool,
    catches_crashes: bool,
    shows_reading: bool,
    milestones: Milestones,
    unserved: UnservedTracker,
}

/// A time in which nobody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absence {
    since: Moment,
    /// The restart in progress is one that was seen to begin.
    saw_beginning: bool,
    /// The parent was started in it, so that every generation but its first is a restart's.
    saw_no_start: bool,
    /// The look that ended it. What is in progress then may have begun at any time before.
    until: Option<Moment>,
}

impl RestartTracker {
    /// What is to be kept.
    pub(in crate::track) fn remember(&self) -> RestartMemory {
        let state = match &self.state {
            // Busy workers come and go with each request, and are of no use later.
            State::Settled(mark) => State::Settled(Mark { at: LAST_LOOK, busy: 0, ..*mark }),
            State::New | State::Restarting(_) => self.state.clone(),
        };
        RestartMemory {
            state,
            joined: self.absence.filter(|it| !it.saw_beginning).map(|it| it.since),
            found_so: self.joined,
            started_unseen: self.absence.is_some_and(|absence| absence.saw_no_start),
            catches_crashes: self.catches_crashes,
            shows_reading: self.shows_reading,
            milestones: self.milestones.clone(),
            unserved: self.unserved.clone(),
        }
    }

    /// A tracker that goes on where another one left off, whose last look was at `since`.
    pub(in crate::track) fn restored(memory: &RestartMemory, since: Moment, now: Moment) -> Self {
        let (state, until) = match &memory.state {
            State::New => (State::New, None),
            State::Settled(mark) if !mark.is_plausible() => (State::New, None),
            State::Restarting(it) if !it.from.is_plausible() => (State::New, None),
            State::Settled(mark) => (State::Settled(Mark { at: since, ..*mark }), None),
            State::Restarting(restarting) => {
                let until = memory.joined.map(|_| restarting.began);
                (State::Restarting(restarting.clone()), until)
            }
        };
        let saw_beginning = matches!(state, State::Restarting(_)) && memory.joined.is_none();
        let recent = now.since(since) < FIRST_CHILD_IS_AWAITED;
        Self {
            state,
            catches_crashes: memory.catches_crashes,
            shows_reading: memory.shows_reading,
            milestones: memory.milestones.clone(),
            seen: Some(now),
            family: Family::new(),
            joined: memory.found_so,
            unserved: if recent { memory.unserved.clone() } else { UnservedTracker::new() },
            absence: Some(Absence {
                since: memory.joined.unwrap_or(since),
                saw_beginning,
                saw_no_start: memory.started_unseen,
                until,
            }),
        }
    }

    /// A tracker for a parent that was started while nobody looked.
    pub(in crate::track) fn started_unseen(started: Moment) -> Self {
        let absence =
            Absence { since: started, saw_beginning: false, saw_no_start: true, until: None };
        Self { absence: Some(absence), ..Self::new() }
    }

    /// A parent that serves, and was started while nobody looked, has gone through as many restarts
    /// as its generation tells.
    pub(super) fn count_from_start(&mut self, look: &Look<'_>) {
        let unseen = self.absence.is_some_and(|absence| absence.saw_no_start);
        let Some(global) = look.global().filter(|_| unseen) else { return };
        if let State::Settled(mark) = &mut self.state {
            mark.generation = Some(Generation::default());
            mark.restart_time = None;
            let shows_children = look.scoreboard.is_some_and(|board| board.slots.is_some());
            if !serves(look, &global) {
                self.state =
                    if shows_children { State::New } else { State::Settled(Mark::of(look)) };
            }
        }
    }

    /// A pid file that another inode has now is httpd's own work (since 2.4.47); one of the same
    /// inode may have been touched, unless children were born when it was written.
    pub(super) fn was_rewritten_unseen(&self, mark: &Mark, look: &Look<'_>) -> bool {
        let Some(stamp) = look.pid_file.filter(|_| self.absence.is_some()) else {
            return false;
        };
        let written = look.at.at_wall(stamp.written);
        let replaced = mark.pid_file.is_some_and(|before| before.inode != stamp.inode);
        let family = look.table.into_iter().flat_map(|table| table.children.values());
        let mut born = family.map(|child| look.at.at_uptime(child.id.started));
        // Start times are exact to a clock tick.
        let soon = |born: Moment| born.since(written).max(written.since(born)) < RESUMES_WITHIN;
        mark.is_rewritten(look) && (replaced || born.any(soon))
    }

    /// What was gone through in an absence has the times that are proven, and no others.
    pub(super) fn correct_after_absence(&mut self, look: &Look<'_>, events: &mut Vec<Event>) {
        let Some(absence) = self.absence else { return };
        let until = absence.until.unwrap_or(look.at);
        let is_first = absence.until.is_none();
        let restarts = events.iter().filter(|it| matches!(it, Event::Restarted { .. })).count();
        for event in events.iter_mut() {
            absence.correct(event, until, restarts, look);
        }
        if restarts > 0 && (is_first || !absence.saw_beginning) {
            // The first child that lives may not be the first that there was.
            events.retain(|event| !matches!(event, Event::ServedAgain { .. }));
            self.unserved = UnservedTracker::new();
        }
        self.absence = match &mut self.state {
            State::Settled(mark) if look.scoreboard.is_none() && mark.generation.is_some() => {
                Some(absence)
            }
            // It does not serve yet, and is counted when it does.
            State::New => Some(absence).filter(|absence| absence.saw_no_start),
            State::Settled(_) => None,
            State::Restarting(_) if absence.saw_beginning && restarts == 0 => None,
            State::Restarting(restarting) if is_first => {
                restarting.began = until;
                Some(Absence { saw_beginning: false, until: Some(until), ..absence })
            }
            // The next one began under the eyes of the looks since.
            State::Restarting(_) => Some(absence).filter(|_| restarts == 0),
        };
    }
}

impl Absence {
    fn correct(&self, event: &mut Event, until: Moment, restarts: usize, look: &Look<'_>) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "a tracker of restarts tells no more")]
        match event {
            Event::RestartBegan { at } => *at = until,
            Event::Restarted { kind, began, took, left, coalesced, .. } => {
                if self.saw_beginning && !*coalesced {
                    *took = took.filter(|_| restarts == 1);
                    return;
                }
                *took = None;
                *began = self.best_known(*kind, until, look);
                // A drain of which nothing was seen has no length.
                let drains = left.is_some_and(|left| lives(left, look));
                *left = left.filter(|_| drains || *kind != RestartType::Graceful);
            }
            _ => {}
        }
    }

    /// A restart ends with its pid file, a hard one with its scoreboard.
    fn best_known(&self, kind: RestartType, until: Moment, look: &Look<'_>) -> Moment {
        let written = look.pid_file.map(|stamp| stamp.written);
        let made = look.global().map(|global| global.restart_time);
        let stamp = if kind == RestartType::Hard { made } else { written };
        let ended = stamp.map_or(until, |stamp| look.at.at_wall(stamp));
        ended.min(until).max(self.since)
    }
}

/// A child of this generation lives.
fn lives(generation: Generation, look: &Look<'_>) -> bool {
    let mut slots = look.slots().iter().filter(|slot| slot.generation == generation);
    look.table.is_some_and(|table| slots.any(|slot| table.living(slot.pid).is_some()))
}
