//! Serving: is there a child that would answer a new connection?

use std::time::Duration;

use crate::model::time::Moment;

/// Ordinary delays between "resuming" and the first child are shorter (event: 1 s, worker: 2 s).
const ORDINARY_DELAY: Duration = Duration::from_secs(3);

/// Follows whether a server serves.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServingTracker {
    served: bool,
    not_since: Option<Moment>,
}

impl ServingTracker {
    /// Folds one look: whether a live, non-quiescing child of the running generation exists;
    /// `None` if that could not be seen.
    pub fn observe(&mut self, at: Moment, serves: Option<bool>) {
        match serves {
            Some(true) => *self = Self { served: true, not_since: None },
            Some(false) => {
                let since = *self.not_since.get_or_insert(at);
                self.served &= at.since(since) < ORDINARY_DELAY;
            }
            None => {}
        }
    }

    /// The server serves, or did until an ordinary delay ago.
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.served
    }

    /// When a server that does not serve just now stops counting as one that does.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.not_since.filter(|_| self.served).map(|since| since.after(ORDINARY_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Timestamp, Uptime};

    fn second(second: u64) -> Moment {
        let start = Moment { uptime: Uptime::from_micros(0), wall: Timestamp::from_micros(0) };
        start.after(Duration::from_secs(second))
    }

    #[test]
    fn an_ordinary_delay_is_not_an_outage() {
        let mut serving = ServingTracker::default();
        serving.observe(second(0), Some(true));
        serving.observe(second(1), Some(false));
        serving.observe(second(3), Some(false));
        assert!(serving.serves());
        serving.observe(second(3), Some(true));
        assert_eq!(serving.next_deadline(), None);
    }

    #[test]
    fn three_seconds_without_a_child_are_an_outage() {
        let mut serving = ServingTracker::default();
        serving.observe(second(0), Some(true));
        serving.observe(second(1), Some(false));
        assert_eq!(serving.next_deadline(), Some(second(4)));
        serving.observe(second(4), Some(false));
        assert!(!serving.serves());
        assert_eq!(serving.next_deadline(), None);
    }

    #[test]
    fn what_could_not_be_seen_changes_nothing() {
        let mut serving = ServingTracker::default();
        serving.observe(second(0), Some(true));
        serving.observe(second(60), None);
        assert!(serving.serves());
    }
}
