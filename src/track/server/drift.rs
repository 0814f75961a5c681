//! What is owed to the parent, told when it begins and when it ends.

use super::ServerTracker;
use crate::{
    model::{event::Event, files::Loading, snapshot::ServerSnapshot},
    track::drift::{Drift, DriftLook, Owed},
};

impl ServerTracker {
    /// When the living parent last read its files; `None` without one.
    #[must_use]
    pub fn loading(&self) -> Option<Loading> {
        self.loading.of(self.up.as_ref()?.id)
    }

    /// Takes note of what the parent read, by the restarts of this look.
    pub(super) fn observe_loading(&mut self, snapshot: &ServerSnapshot, restarts: &[Event]) {
        let up = self.up.as_ref().map(|up| up.id);
        if let Some(parent) = snapshot.parent.as_ref().filter(|parent| Some(parent.id) == up) {
            self.loading.observe(snapshot, parent, restarts);
        }
    }

    /// Tells what is owed, from all else that this look found out.
    pub(super) fn observe_drift(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        self.latest.drift = self.drift_of(snapshot);
        for (reason, owed) in &self.latest.drift.owed {
            match owed {
                Owed::Since(since) if self.owed.insert(*reason) => {
                    events.push(Event::Owed { reason: *reason, since: *since });
                }
                Owed::Nothing if self.owed.remove(reason) => {
                    events.push(Event::Paid { reason: *reason });
                }
                Owed::Since(_) | Owed::Nothing => {}
            }
        }
    }

    fn drift_of(&mut self, snapshot: &ServerSnapshot) -> Drift {
        let (Some(parent), Some(loading)) = (self.up.as_ref().map(|up| up.id), self.loading())
        else {
            return Drift::default();
        };
        let roles = self.roles();
        self.drift.observe(&DriftLook {
            at: snapshot.at,
            parent,
            sample: &snapshot.drift,
            told: snapshot.resources.settings.as_ref(),
            loaded: self.loaded.settings(),
            loading,
            roles: &roles,
            global: self.scoreboard(snapshot).map(|board| board.global),
        })
    }
}
