//! Whether the thread that looks at files still lives: a file system of another host may hold it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::model::time::Moment;

/// So much later than it wanted to a thread of a busy host may be woken.
const LATE: Duration = Duration::from_secs(30);
/// A look that takes longer is held.
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// Nothing is watched.
const NEVER: u64 = u64::MAX;

/// When the thread will be heard of next at the latest; it tells before whatever may hold it.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Of a thread that watches nothing.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(NEVER)))
    }

    /// It waits until then.
    pub(super) fn wait(&self, until: Moment) {
        self.expect(until.after(LATE));
    }

    /// It begins to look now.
    pub(super) fn look(&self, now: Moment) {
        self.expect(now.after(LONGEST_LOOK));
    }

    /// It waits for something to watch, however long.
    pub(super) fn rest(&self) {
        self.0.store(NEVER, SeqCst);
    }

    /// It should have been heard of.
    pub(super) fn is_late(&self, now: Moment) -> bool {
        now.uptime.as_micros() > self.0.load(SeqCst)
    }

    fn expect(&self, latest: Moment) {
        self.0.store(latest.uptime.as_micros(), SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn who_is_not_heard_of_in_time_is_late_unless_nothing_is_watched() {
        let (pulse, now) = (Pulse::new(), clock::now());
        let late = |seconds: u64| pulse.is_late(now.after(Duration::from_secs(seconds)));
        assert!(!late(1_000_000));
        pulse.wait(now.after(Duration::from_secs(10)));
        assert!(!late(40) && late(41));
        pulse.look(now);
        assert!(!late(60) && late(61));
        pulse.rest();
        assert!(!late(1_000_000));
    }
}
