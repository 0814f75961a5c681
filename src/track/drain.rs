//! Drains: how long old generations take to leave, each for itself.
//!
//! ```text
//!            graceful restart                last child left: drained
//!   running ─────────────────▶ draining ──────────────────────────────▶ over
//!                                 │  hard restart, parent's end: interrupted  ▲
//!                                 └───────────────────────────────────────────┘
//! ```

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::model::{
    event::{DrainOutcome, Event, RestartType},
    scoreboard::Generation,
    time::Moment,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Drain {
    began: Moment,
    children: u32,
}

/// What is remembered of a generation that had a child.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Presence {
    living: u32,
    last_departure: Option<Moment>,
    /// When its children left, as long as a drain may turn out to have begun before.
    departures: Vec<Moment>,
}

/// Follows the drains of one parent's generations.
#[derive(Clone, Debug, Default)]
pub struct DrainTracker {
    generations: BTreeMap<Generation, Presence>,
    open: BTreeMap<Generation, Drain>,
    last: Option<Duration>,
}

/// What is kept of a parent's drains from one run to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DrainMemory {
    generations: Vec<(Generation, Presence)>,
    open: Vec<(Generation, Drain)>,
    last: Option<Duration>,
}

/// What one look says about generations.
#[derive(Clone, Copy, Debug)]
pub struct Census<'a> {
    /// When.
    pub at: Moment,
    /// The living children of each generation.
    pub living: &'a BTreeMap<Generation, u32>,
    /// Every generation that a slot names, its child living or not.
    pub named: &'a [Generation],
    /// Of which generation a child left since the last look, and when.
    pub departures: &'a [(Generation, Moment)],
    /// The restarts that were gone through since the last look.
    pub restarts: &'a [Event],
    /// A restart is in progress: it is not decided yet whether a drain has begun.
    pub undecided: bool,
}

impl DrainTracker {
    /// When each unfinished drain began, by generation.
    pub fn open(&self) -> impl Iterator<Item = (Generation, Moment)> {
        self.open.iter().map(|(generation, drain)| (*generation, drain.began))
    }

    /// How long the last finished drain took.
    #[must_use]
    pub const fn last(&self) -> Option<Duration> {
        self.last
    }

    /// What is to be kept. How many children live, and when one left that nobody waits for, the
    /// next look tells anew, so that a child's coming and going changes nothing here.
    pub(super) fn remember(&self) -> DrainMemory {
        let kept = |generation: &Generation, presence: &Presence| {
            let awaited = self.open.contains_key(generation) || !presence.departures.is_empty();
            let last_departure = presence.last_departure.filter(|_| awaited);
            let departures = presence.departures.clone();
            (*generation, Presence { living: 0, last_departure, departures })
        };
        DrainMemory {
            generations: self.generations.iter().map(|(key, value)| kept(key, value)).collect(),
            open: self.open.iter().map(|(generation, drain)| (*generation, *drain)).collect(),
            last: self.last,
        }
    }

    /// A tracker that goes on where another one left off.
    pub(super) fn restored(memory: DrainMemory) -> Self {
        Self {
            generations: memory.generations.into_iter().collect(),
            open: memory.open.into_iter().collect(),
            last: memory.last,
        }
    }

    /// Folds one look.
    pub fn observe(&mut self, census: &Census<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        self.count(census);
        for restart in census.restarts {
            if let Event::Restarted { kind, began, left: Some(left), .. } = restart {
                match kind {
                    RestartType::Graceful => self.begin(*left, *began, &mut events),
                    RestartType::Hard | RestartType::Full => self.interrupt(*began, &mut events),
                    RestartType::Unknown => {}
                }
            }
        }
        // While it is not decided whether a hard restart is ending the old children, none drained.
        if !census.undecided {
            self.settle(&mut events);
            self.forget();
        }
        events
    }

    /// The parent ended, or a hard restart took the old children away. What had drained by then
    /// has drained.
    pub fn interrupt(&mut self, at: Moment, events: &mut Vec<Event>) {
        for (generation, drain) in std::mem::take(&mut self.open) {
            let presence = self.generations.get(&generation);
            let left = presence.filter(|presence| presence.living == 0);
            // Who leaves at the first sign of a hard restart was sent away by it.
            let left = left.map(|presence| presence.last_departure.unwrap_or(drain.began));
            let left = left.filter(|left| *left < at);
            let (ended, outcome) = match left {
                Some(left) => (left, DrainOutcome::Drained),
                None => (at, DrainOutcome::Interrupted),
            };
            let lasted = ended.since(drain.began);
            self.last = Some(lasted);
            let children = drain.children;
            events.push(Event::DrainEnded { generation, lasted, children, outcome });
        }
    }

    fn count(&mut self, census: &Census<'_>) {
        for presence in self.generations.values_mut() {
            presence.living = 0;
        }
        for generation in census.named {
            self.generations.entry(*generation).or_default();
        }
        for (generation, living) in census.living {
            self.generations.entry(*generation).or_default().living = *living;
        }
        for (generation, at) in census.departures {
            let presence = self.generations.entry(*generation).or_default();
            presence.last_departure = presence.last_departure.max(Some(*at));
            presence.departures.push(*at);
        }
    }

    /// A generation that never had a child has nothing to drain.
    fn begin(&mut self, left: Generation, began: Moment, events: &mut Vec<Event>) {
        let Some(presence) = self.generations.get(&left) else {
            return;
        };
        let after = presence.departures.iter().filter(|at| **at >= began).count();
        let children = presence.living.saturating_add(u32::try_from(after).unwrap_or(u32::MAX));
        self.open.insert(left, Drain { began, children });
        events.push(Event::DrainBegan { generation: left, at: began });
    }

    fn settle(&mut self, events: &mut Vec<Event>) {
        let generations = &mut self.generations;
        let last = &mut self.last;
        self.open.retain(|generation, drain| {
            let presence = generations.entry(*generation).or_default();
            let ends: Vec<Moment> = presence.departures.drain(..).collect();
            for at in ends.iter().filter(|at| **at >= drain.began) {
                events.push(Event::ChildDrained { after: at.since(drain.began) });
            }
            if presence.living > 0 {
                return true;
            }
            let ended = presence.last_departure.unwrap_or(drain.began);
            let lasted = ended.since(drain.began);
            *last = Some(lasted);
            events.push(Event::DrainEnded {
                generation: *generation,
                lasted,
                children: drain.children,
                outcome: DrainOutcome::Drained,
            });
            false
        });
    }

    /// Keeps what a later restart may ask for: generations with a living child, and the youngest
    /// even if it lost its children.
    fn forget(&mut self) {
        let open = &self.open;
        let youngest = self.generations.keys().next_back().copied();
        self.generations.retain(|generation, presence| {
            presence.departures.clear();
            presence.living > 0 || Some(*generation) == youngest || open.contains_key(generation)
        });
    }
}
