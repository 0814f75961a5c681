//! The forecast of a graceful restart: how many children there will be, and what they need; and what
//! the last one did need.
//!
//! Memory is what children own: at the peak the old ones that a request holds and the new generation
//! in its full number, each of which owns what a child of the running generation owns now. While old
//! children stay they also keep the parent's old heap, which it makes anew as it reads its
//! configuration. In an idle restart the old children are gone when the new ones come.

mod owned;
mod peak;
mod plan;
mod starts;

use serde::{Deserialize, Serialize};

pub use self::plan::Plan;
use self::{
    owned::Holdings,
    peak::PeakTracker,
    plan::{Planner, Prospect},
    starts::StartTracker,
};
use super::{HeadroomLook, LimitHeadroom};
use crate::model::headroom::Fit;

/// What a graceful restart now would need, and the last one needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartForecast {
    /// Who will be there; `None` while the scoreboard is not read.
    pub plan: Option<Plan>,
    /// Slots that the new generation needs, and those that it finds.
    pub slots: Option<Fit>,
    /// Extra memory at its peak, in bytes.
    pub memory: Option<u64>,
    /// Extra memory that the last graceful restart needed at its peak, in bytes.
    pub memory_peak: Option<u64>,
    /// Most starts of children in one second of the last restart.
    pub peak_child_starts: Option<u32>,
}

/// What is kept of the last restart from one run to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartNeeds {
    /// Extra memory at its peak, in bytes.
    pub memory_peak: Option<u64>,
    /// Most starts of children in one second.
    pub peak_child_starts: Option<u32>,
}

/// Follows restarts and forecasts the next.
#[derive(Clone, Debug, Default)]
pub struct ForecastTracker {
    planner: Planner,
    peak: PeakTracker,
    starts: StartTracker,
    /// What a child of a running generation owned when it was last known, in bytes.
    child: Option<u64>,
}

impl RestartForecast {
    /// What is known before the first look.
    #[must_use]
    pub fn remembered(needs: RestartNeeds) -> Self {
        let RestartNeeds { memory_peak, peak_child_starts } = needs;
        Self { memory_peak, peak_child_starts, ..Self::default() }
    }

    /// What is kept of it.
    #[must_use]
    pub const fn needs(&self) -> RestartNeeds {
        RestartNeeds { memory_peak: self.memory_peak, peak_child_starts: self.peak_child_starts }
    }
}

impl ForecastTracker {
    /// One that goes on where an earlier run left it.
    #[must_use]
    pub fn restored(needs: RestartNeeds) -> Self {
        Self {
            peak: PeakTracker::restored(needs.memory_peak),
            starts: StartTracker::restored(needs.peak_child_starts),
            ..Self::default()
        }
    }

    /// Folds one look.
    pub fn observe(&mut self, look: &HeadroomLook<'_>) -> RestartForecast {
        let prospect = self.planner.observe(look);
        let holdings = Holdings::of(look);
        let owned = holdings.as_ref().and_then(Holdings::all);
        if let Some(holdings) = &holdings
            && (self.child.is_none() || holdings.is_mature())
        {
            self.child = holdings.mean().or(self.child);
        }
        let memory = prospect.as_ref().zip(holdings.as_ref()).zip(owned).and_then(
            |((prospect, holdings), now)| Some(extra(prospect, holdings, self.child?, now)),
        );
        RestartForecast {
            slots: prospect.as_ref().map(|prospect| Fit {
                needed: u64::from(prospect.slots_needed),
                available: u64::from(prospect.slots_left),
            }),
            plan: prospect.map(|prospect| prospect.plan),
            memory,
            memory_peak: self.peak.observe(look, holdings.as_ref()),
            peak_child_starts: self.starts.observe(look),
        }
    }
}

/// What will be owned at the peak beyond what is owned now, where a new child owns so much.
fn extra(prospect: &Prospect, holdings: &Holdings<'_>, child: u64, now: u64) -> u64 {
    let stays = |id| prospect.staying.contains(&id);
    let staying = holdings.sum(stays);
    // Old ones have a heap of their own already.
    let heap = if holdings.is_any_current(stays) { holdings.parent_heap() } else { 0 };
    let new = child.saturating_mul(u64::from(prospect.plan.grows_to));
    staying.saturating_add(heap).saturating_add(new).saturating_sub(now)
}

/// Whether memory would suffice.
#[must_use]
pub(super) fn memory_fit(restart: &RestartForecast, limits: &LimitHeadroom) -> Option<Fit> {
    let rooms = [limits.host_memory, limits.cgroup_memory];
    let available = rooms.into_iter().flatten().min()?;
    Some(Fit { needed: restart.memory?, available })
}

#[cfg(test)]
mod tests;
