//! Serving: is there a child that would answer a new connection?

use std::time::Duration;

use crate::model::{process::ProcessTable, scoreboard::Scoreboard, time::Moment};

/// Ordinary delays between "resuming" and the first child are shorter (event: 1 s, worker: 2 s).
const ORDINARY_DELAY: Duration = Duration::from_secs(3);

/// Whether a server serves, as a state:
///
/// ```text
///   Unknown ◀──cannot be seen── any     Serves ──no child──▶ Pausing ──3 s──▶ Not
///                                          ▲─────── a child lives ──────────────┘
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServingTracker {
    /// Nothing tells.
    #[default]
    Unknown,
    /// A child takes connections.
    Serves,
    /// None has, for no longer than is ordinary.
    Pausing {
        /// The first look that saw none.
        since: Moment,
    },
    /// None does.
    Not,
}

impl ServingTracker {
    /// Folds one look: whether a live, non-quiescing child of the running generation exists;
    /// `None` if that could not be seen.
    pub fn observe(&mut self, at: Moment, serves: Option<bool>) {
        *self = match (*self, serves) {
            (_, None) => Self::Unknown,
            (_, Some(true)) => Self::Serves,
            (Self::Serves, Some(false)) => Self::Pausing { since: at },
            (Self::Pausing { since }, Some(false)) if at.since(since) < ORDINARY_DELAY => *self,
            (Self::Pausing { .. } | Self::Unknown | Self::Not, Some(false)) => Self::Not,
        };
    }

    /// The server serves, or did until an ordinary delay ago; `None` where nothing tells.
    #[must_use]
    pub const fn serves(&self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Serves | Self::Pausing { .. } => Some(true),
            Self::Not => Some(false),
        }
    }

    /// When a server that does not serve just now stops counting as one that does.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self {
            Self::Pausing { since } => Some(since.after(ORDINARY_DELAY)),
            Self::Unknown | Self::Serves | Self::Not => None,
        }
    }
}

/// A live, non-quiescing child of the running generation exists; `None` while slots are not proven.
pub(super) fn takes_connections(board: &Scoreboard, table: &ProcessTable) -> Option<bool> {
    let running = board.global.running_generation;
    let mut current = board.slots.as_ref()?.iter().filter(|slot| slot.generation == running);
    Some(current.any(|slot| !slot.quiescing && table.living(slot.pid).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::fixture::after;

    #[test]
    fn an_ordinary_delay_is_not_an_outage() {
        let mut serving = ServingTracker::default();
        serving.observe(after(0), Some(true));
        serving.observe(after(1000), Some(false));
        serving.observe(after(3000), Some(false));
        assert_eq!(serving.serves(), Some(true));
        serving.observe(after(3000), Some(true));
        assert_eq!(serving.next_deadline(), None);
    }

    #[test]
    fn three_seconds_without_a_child_are_an_outage() {
        let mut serving = ServingTracker::default();
        serving.observe(after(0), Some(true));
        serving.observe(after(1000), Some(false));
        assert_eq!(serving.next_deadline(), Some(after(4000)));
        serving.observe(after(4000), Some(false));
        assert_eq!(serving.serves(), Some(false));
        assert_eq!(serving.next_deadline(), None);
    }

    #[test]
    fn what_cannot_be_seen_is_neither_serving_nor_not() {
        let mut serving = ServingTracker::default();
        assert_eq!(serving.serves(), None);
        serving.observe(after(0), Some(true));
        serving.observe(after(1000), Some(false));
        serving.observe(after(60_000), None);
        assert_eq!(serving.serves(), None);
        assert_eq!(serving.next_deadline(), None, "nothing to wait for");
    }
}
