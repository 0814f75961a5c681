//! Restarts whose new generation has no child yet: nobody takes a connection.

use serde::{Deserialize, Serialize};

use crate::model::{
    event::{Event, RestartType},
    scoreboard::Generation,
    time::Moment,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    kind: RestartType,
    began: Moment,
    resumed: Option<Moment>,
    generation: Generation,
}

/// Follows the first child of each generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnservedTracker {
    waiting: Vec<Waiting>,
}

impl UnservedTracker {
    pub(super) const fn new() -> Self {
        Self { waiting: Vec::new() }
    }

    /// A restart made `generation` the running one.
    pub(super) fn restarted(
        &mut self,
        kind: RestartType,
        began: Moment,
        resumed: Option<Moment>,
        generation: Generation,
    ) {
        self.waiting.push(Waiting { kind, began, resumed, generation });
    }

    /// Whether a child is waited for.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The first child of a generation ends the unserved time of every restart up to it.
    pub(super) fn observe(&mut self, births: &[(Generation, Moment)]) -> Vec<Event> {
        let mut events = Vec::new();
        self.waiting.retain(|waiting| {
            let of_it = births.iter().filter(|(generation, _)| *generation >= waiting.generation);
            let born = of_it.map(|(_, born)| *born).min();
            events.extend(born.map(|born| Event::ServedAgain {
                kind: waiting.kind,
                // A start time is exact to a clock tick; no child lives before its parent resumed.
                unserved: born.max(waiting.resumed.unwrap_or(born)).since(waiting.began),
            }));
            born.is_none()
        });
        events
    }
}
