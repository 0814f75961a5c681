//! What the last graceful restart did need: the most memory in it, beside what there was before.
//!
//! ```text
//!   nothing ──signal taken──▶ maybe ──resumed as graceful──▶ measuring ──no old child is left, and
//!      ▲                        │        the new generation grows no more──▶ nothing, the peak stays
//!      └──── anything else ─────┘
//! ```

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{super::HeadroomLook, owned::Holdings};
use crate::model::{
    event::{Event, RestartType},
    headroom::Role,
    process::ProcessId,
    time::Moment,
};

/// httpd starts what is missing once a second, twice as many each time: a generation of which
/// nobody was born for so long has grown.
const GROWS_WITHIN: Duration = Duration::from_secs(5);
/// Who is born later comes for the load, not for the restart.
const GROWS_FOR: Duration = Duration::from_secs(60);
/// More than the looks between a signal and the look that finds it.
const REMEMBERED: usize = 64;

/// Measures restarts.
#[derive(Clone, Debug, Default)]
pub(super) struct PeakTracker {
    sums: SumTracker,
    /// What was used in the last looks.
    before: VecDeque<(Moment, Sums)>,
    passage: Option<Passage>,
    last: Option<u64>,
}

/// Memory that grows with each child, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// What children own.
    owned: Option<u64>,
    /// What the whole server uses, with what its processes share: exact, but only known while
    /// nobody comes or goes between two readings.
    used: Option<u64>,
}

/// Sums up looks.
#[derive(Clone, Debug, Default)]
struct SumTracker {
    processes: BTreeSet<ProcessId>,
    /// Since when nobody came or went.
    unchanged: Option<Moment>,
    /// What the last look used, if nobody has gone since.
    unconfirmed: Option<u64>,
    /// What these processes used when that was last known.
    used: Option<u64>,
}

/// A restart that is measured.
#[derive(Clone, Copy, Debug)]
struct Passage {
    before: Sums,
    /// The most since, beyond that.
    extra: Sums,
    /// When it was seen to be a graceful one.
    resumed: Option<Moment>,
}

impl PeakTracker {
    /// One that goes on where an earlier run left it.
    pub(super) fn restored(last: Option<u64>) -> Self {
        Self { last, ..Self::default() }
    }

    /// Folds one look, and returns what the last graceful restart needed, in bytes; a restart of
    /// which that is not known leaves nothing.
    pub(super) fn observe(
        &mut self,
        look: &HeadroomLook<'_>,
        holdings: Option<&Holdings<'_>>,
    ) -> Option<u64> {
        self.begin(look);
        for event in look.events {
            self.hear(event, look.at);
        }
        if look.restart_since.is_none() {
            // What began was no restart after all, and the next one has a baseline of its own.
            self.passage = self.passage.filter(|passage| passage.resumed.is_some());
        }
        let sums = self.sums.observe(look, holdings);
        if let Some(passage) = &mut self.passage {
            passage.extra = passage.extra.highest(sums.beyond(passage.before));
            if let Some(resumed) = passage.resumed {
                // What children own is no more than what is used, and is known in each look.
                self.last = passage.extra.used.max(passage.extra.owned);
                if is_over(look, resumed) {
                    self.passage = None;
                }
            }
        }
        if self.before.len() >= REMEMBERED {
            self.before.pop_front();
        }
        self.before.push_back((look.at, sums));
        self.last
    }

    fn begin(&mut self, look: &HeadroomLook<'_>) {
        let Some(began) = look.restart_since else { return };
        if self.passage.is_none_or(|passage| passage.resumed.is_some()) {
            self.passage = Some(self.passage_from(began));
        }
    }

    fn passage_from(&self, began: Moment) -> Passage {
        let mut earlier = self.before.iter().rev().filter(|(at, _)| *at <= began);
        let before = earlier.next().map(|(_, sums)| *sums).unwrap_or_default();
        Passage { before, extra: Sums::default(), resumed: None }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only parents and restarts matter")]
    fn hear(&mut self, event: &Event, at: Moment) {
        match event {
            Event::Restarted { kind: RestartType::Graceful, began, .. } => {
                let known =
                    self.passage.filter(|passage| passage.resumed.is_none_or(|it| it == at));
                let passage = known.unwrap_or_else(|| self.passage_from(*began));
                self.passage = Some(Passage { resumed: Some(at), ..passage });
            }
            Event::Restarted {
                kind: RestartType::Hard | RestartType::Full | RestartType::Unknown,
                ..
            }
            | Event::ParentAppeared { .. }
            | Event::RestartFailed { .. }
            | Event::Stopped { .. } => {
                self.passage = None;
                self.before.clear();
            }
            _ => {}
        }
    }
}

impl SumTracker {
    fn observe(&mut self, look: &HeadroomLook<'_>, holdings: Option<&Holdings<'_>>) -> Sums {
        let unconfirmed = self.unconfirmed.take();
        let is_same = self.processes.iter().eq(look.roles.keys());
        if !is_same {
            self.processes = look.roles.keys().copied().collect();
            self.unchanged = Some(look.at);
        }
        // Who went while the last look was reading is missing only now.
        self.used = unconfirmed.or(self.used).filter(|_| is_same);
        let used = holdings.and_then(Holdings::used);
        let fresh = used.filter(|(_, oldest)| self.unchanged.is_some_and(|it| *oldest >= it));
        self.unconfirmed = fresh.map(|(used, _)| used);
        Sums { owned: holdings.and_then(Holdings::all), used: self.used }
    }
}

impl Sums {
    fn beyond(self, before: Self) -> Self {
        let beyond = |now: Option<u64>, before| Some(now?.saturating_sub(before?));
        Self { owned: beyond(self.owned, before.owned), used: beyond(self.used, before.used) }
    }

    fn highest(self, other: Self) -> Self {
        Self { owned: self.owned.max(other.owned), used: self.used.max(other.used) }
    }
}

/// No old child is left, and the new generation has grown.
fn is_over(look: &HeadroomLook<'_>, resumed: Moment) -> bool {
    let drains = look.roles.values().any(|role| *role == Role::Old);
    let current = look.roles.iter().filter(|(_, role)| **role == Role::Current);
    let youngest = current.map(|(id, _)| look.at.at_uptime(id.started)).max();
    let quiet = look.at.since(youngest.unwrap_or(resumed).max(resumed));
    !drains && (quiet >= GROWS_WITHIN || look.at.since(resumed) >= GROWS_FOR)
}
