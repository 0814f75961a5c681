//! The only way to wait: a condition, its description, and a generous deadline.

use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);
/// Short beside everything that is waited for, long beside what a look costs.
const PAUSE: Duration = Duration::from_millis(2);

/// What a polled closure may answer: `bool`, or an `Option` whose value is wanted.
pub(crate) trait Condition {
    type Value;
    fn met(self) -> Option<Self::Value>;
}

impl Condition for bool {
    type Value = ();

    fn met(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Condition for Option<T> {
    type Value = T;

    fn met(self) -> Option<T> {
        self
    }
}

/// Polls until the condition is met and returns its value; panics with `what` after 30 s.
#[track_caller]
pub(crate) fn eventually<C: Condition>(what: &str, condition: impl FnMut() -> C) -> C::Value {
    eventually_within(DEADLINE, what, condition)
}

/// As [`eventually`], for what may take longer, or must not take that long.
#[track_caller]
pub(crate) fn eventually_within<C: Condition>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> C,
) -> C::Value {
    let begin = Instant::now();
    loop {
        // The clock is read before the look, so that the last look is never before the deadline.
        let late = begin.elapsed() > deadline;
        if let Some(value) = condition().met() {
            return value;
        }
        assert!(!late, "waited {deadline:?} in vain: {what}");
        thread::sleep(PAUSE);
    }
}
