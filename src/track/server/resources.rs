//! Who uses what: the processes of a server in their roles.

use std::collections::BTreeMap;

use super::ServerTracker;
use crate::{
    model::{event::Event, headroom::Role, process::ProcessId, snapshot::ServerSnapshot},
    track::headroom::HeadroomLook,
};

impl ServerTracker {
    /// Tells what a restart would need, from all else that this look found out.
    pub(super) fn observe_headroom(&mut self, snapshot: &ServerSnapshot, events: &[Event]) {
        let roles = self.roles();
        self.latest.headroom = self.headroom.observe(&HeadroomLook {
            at: snapshot.at,
            resources: &snapshot.resources,
            roles: &roles,
            loaded: self.loaded.settings(),
            scoreboard: self.scoreboard(snapshot),
            restart_since: self.restart_since(),
            events,
        });
        if self.latest.headroom.listeners.is_stalled {
            // Children live, and yet nobody would be answered.
            self.latest.serving = self.latest.serving.map(|_| false);
        }
    }

    /// The living parent and its worker children, those of parents that are gone included.
    pub(super) fn roles(&self) -> BTreeMap<ProcessId, Role> {
        let parent = self.up.as_ref().map(|up| (up.id, Role::Parent));
        let children = self.children.workers().iter().map(|(id, descent)| {
            let role = if self.is_current(*descent) { Role::Current } else { Role::Old };
            (*id, role)
        });
        parent.into_iter().chain(children).collect()
    }
}
