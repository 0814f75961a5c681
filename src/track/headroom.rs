//! Headroom: what a graceful restart now would need, what there is for it, and what the last one did
//! need.

mod descriptors;
mod forecast;
mod ipc;
mod limits;
mod listeners;
mod memory;
mod pids;

use std::collections::BTreeMap;

pub use self::{
    descriptors::{DescriptorHeadroom, DescriptorTracker},
    forecast::{ForecastTracker, Plan, RestartForecast, RestartNeeds},
    ipc::{IpcHeadroom, IpcTracker},
    limits::{LimitHeadroom, LimitTracker},
    listeners::{ListenerHeadroom, ListenerTracker, Queue},
    memory::{MemoryHeadroom, MemoryTracker},
};
use crate::model::{
    event::Event,
    headroom::{Fit, Resource, Role},
    process::ProcessId,
    resources::Resources,
    scoreboard::Scoreboard,
    settings::ServerSettings,
    time::Moment,
};

/// One look at a server with its processes in their roles.
#[derive(Clone, Copy, Debug)]
pub struct HeadroomLook<'a> {
    /// When it began.
    pub at: Moment,
    /// What was seen.
    pub resources: &'a Resources,
    /// The living parent and its living worker children; without a parent, orphans only.
    pub roles: &'a BTreeMap<ProcessId, Role>,
    /// What the running configuration says, where that is known: `resources` has what the files say.
    pub loaded: Option<&'a ServerSettings>,
    /// The scoreboard itself, while it is read.
    pub scoreboard: Option<&'a Scoreboard>,
    /// Since when a restart is in progress.
    pub restart_since: Option<Moment>,
    /// What this look found out: restarts, starts of children, ends of drains.
    pub events: &'a [Event],
}

/// What is known of headroom; what is not known is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headroom {
    /// Memory by role.
    pub memory: MemoryHeadroom,
    /// What a restart would need, and the last one needed.
    pub restart: RestartForecast,
    /// File descriptors.
    pub descriptors: DescriptorHeadroom,
    /// Semaphores and shared memory.
    pub ipc: IpcHeadroom,
    /// Of host and cgroup.
    pub limits: LimitHeadroom,
    /// Listening sockets.
    pub listeners: ListenerHeadroom,
    /// Each resource that could be told.
    pub fits: BTreeMap<Resource, Fit>,
}

/// Follows the headroom of one server.
#[derive(Clone, Debug, Default)]
pub struct HeadroomTracker {
    memory: MemoryTracker,
    forecast: ForecastTracker,
    descriptors: DescriptorTracker,
    ipc: IpcTracker,
    limits: LimitTracker,
    listeners: ListenerTracker,
}

impl HeadroomTracker {
    /// One that goes on where an earlier run left it.
    #[must_use]
    pub fn restored(needs: RestartNeeds) -> Self {
        Self { forecast: ForecastTracker::restored(needs), ..Self::default() }
    }

    /// Folds one look.
    pub fn observe(&mut self, look: &HeadroomLook<'_>) -> Headroom {
        let memory = self.memory.observe(look);
        let limits = self.limits.observe(look);
        let restart = self.forecast.observe(look);
        let descriptors = self.descriptors.observe(look);
        let ipc = self.ipc.observe(look);
        let listeners = self.listeners.observe(look);
        let plan = restart.plan;
        let fits = [
            (
                Resource::Memory,
                limits.judged(Resource::Memory, forecast::memory_fit(&restart, &limits)),
            ),
            (Resource::Fds, descriptors.fit),
            (Resource::Slots, restart.slots),
            (Resource::Semaphores, ipc.semaphores_fit),
            (Resource::Shm, ipc.shm_fit),
            (Resource::Pids, limits.judged(Resource::Pids, pids::pid_fit(plan, &limits))),
        ];
        let fits = fits.into_iter().filter_map(|(resource, fit)| Some((resource, fit?))).collect();
        Headroom { memory, restart, descriptors, ipc, limits, listeners, fits }
    }

    /// When a look could tell more: connections wait and nobody takes them.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.listeners.next_deadline()
    }
}
