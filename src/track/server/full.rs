//! A full restart: another parent serves.

use super::ServerTracker;
use crate::model::{event::Event, process::ProcessId, snapshot::ServerSnapshot, time::Moment};

impl ServerTracker {
    /// Another parent serves for the first time.
    pub(super) fn notice_full_restart(
        &mut self,
        snapshot: &ServerSnapshot,
        events: &mut Vec<Event>,
    ) {
        let born = self.first_child_of_running(snapshot);
        if let (Some(up), Some(born)) = (&mut self.up, born)
            && let Some(full) = up.full.take()
        {
            events.extend(full.ended(up.started, born, self.running));
        }
    }

    /// When the first child of the running generation was born, as far as can be told.
    fn first_child_of_running(&self, snapshot: &ServerSnapshot) -> Option<Moment> {
        let born = |id: &ProcessId| snapshot.at.at_uptime(id.started);
        if let Some(running) = self.running_descent() {
            let workers = self.children.workers().iter();
            return workers.filter(|(_, it)| **it == running).map(|(id, _)| born(id)).min();
        }
        let full = self.up.as_ref().and_then(|up| up.full.as_ref())?;
        full.first_child(snapshot.at, snapshot.parent.as_ref()?.processes.seen()?)
    }
}
