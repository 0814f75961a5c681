//! What is believed of one server now: everything that is shown is rendered from this.

use std::{collections::BTreeMap, time::Duration};

use super::{board::Board, drift::Drift, headroom::Headroom, witness::WitnessState};
use crate::model::{
    label::closed_set, process::ProcessId, scoreboard::Generation, source::Source,
    straggler::Straggler, time::Moment,
};

closed_set! {
    /// Whether a child belongs to the running generation.
    Age {
        /// Of the running generation.
        Current = "current",
        /// Of one below it, or of a parent that is gone.
        Old = "old",
    }
}

/// A number for each age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByAge {
    /// Of the running generation.
    pub current: u32,
    /// Of older ones.
    pub old: u32,
}

/// What is believed of one server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerAssessment {
    /// The parent is alive and identified; `None` while that cannot be seen.
    pub up: Option<bool>,
    /// A new connection would be answered.
    pub serving: Option<bool>,
    /// The living parent and when it started.
    pub parent: Option<(ProcessId, Moment)>,
    /// The running generation.
    pub generation: Option<Generation>,
    /// Since when a restart is in progress.
    pub restart_since: Option<Moment>,
    /// That restart is past its limit.
    pub restart_hung: bool,
    /// Since when a parent, or an httpd that is starting, waits for a key's pass phrase.
    pub prompt_since: Option<Moment>,
    /// Living worker children; `None` while generations are not known.
    pub children: Option<ByAge>,
    /// Distinct generations with a living child; `None` while they are not known.
    pub generations: Option<u32>,
    /// Living worker children whose parent is gone; `None` while generations are not known.
    pub orphans: Option<u32>,
    /// What the slots tell; `None` while they are not read and proven.
    pub board: Option<Board>,
    /// When each unfinished drain began; `None` while generations are not known.
    pub drains: Option<BTreeMap<Generation, Moment>>,
    /// How long the last finished drain took.
    pub last_drain: Option<Duration>,
    /// Old children that still live, the oldest first; `None` while generations are not known.
    pub stragglers: Option<Vec<Straggler>>,
    /// What a restart now would need, and what there is for it.
    pub headroom: Headroom,
    /// What is owed to it.
    pub drift: Drift,
    /// The sources and their state.
    pub sources: BTreeMap<Source, WitnessState>,
}

impl ByAge {
    /// Counts one more.
    pub const fn add(&mut self, age: Age, count: u32) {
        match age {
            Age::Current => self.current = self.current.saturating_add(count),
            Age::Old => self.old = self.old.saturating_add(count),
        }
    }
}

impl Age {
    /// The age of a child of `generation`. A generation above the running one was forked after
    /// the running one was read.
    #[must_use]
    pub fn of(generation: Generation, running: Generation) -> Self {
        if generation < running { Self::Old } else { Self::Current }
    }
}
