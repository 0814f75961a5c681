//! What witnesses of lower rank say, compared with what is believed.

use super::ServerTracker;
use crate::{
    model::{
        event::Event,
        log::LogReport,
        snapshot::{Part, ServerSnapshot},
    },
    track::status::Running,
};

impl ServerTracker {
    /// Counts what the error log says, and compares it and `mod_status` with what happened.
    pub(super) fn compare(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        let at = snapshot.at;
        self.claims.notice(at, &snapshot.traces, events);
        if self.inferred.is_some() {
            self.claims.children_left(&snapshot.traces);
        }
        if let Some(began) = self.restart_since() {
            self.claims.restarting(began, at);
        }
        let report = snapshot.log.as_ref().and_then(Part::seen);
        let claims = report.map(|report| report.claims.as_slice()).unwrap_or_default();
        if could_confirm(snapshot) {
            events.extend(self.claims.observe(at, claims));
        } else {
            self.claims.forget();
        }
        let running = self.running.filter(|_| self.up.is_some() && self.restart_since().is_none());
        let running = running.map(|generation| match &self.inferred {
            Some(_) => Running::Counted(generation),
            None => Running::Numbered(generation),
        });
        let seen = snapshot.parent.as_ref().is_some_and(|parent| match &parent.scoreboard {
            Part::Seen(_) => true,
            Part::Unseen(_) => self.inferred.is_some(),
        });
        let contradiction =
            self.status.observe(at, running.filter(|_| seen), snapshot.status.as_ref());
        events.extend(contradiction.map(Event::Contradicted));
        if let Some(report) = report.filter(|report| **report != LogReport::default()) {
            events.push(Event::LogRead(report.clone()));
        }
    }
}

/// The process table can be read: there is somebody to confirm a line, or not to.
fn could_confirm(snapshot: &ServerSnapshot) -> bool {
    match &snapshot.parent {
        Some(parent) => parent.processes.seen().is_some(),
        None => snapshot.hidden.is_none(),
    }
}
