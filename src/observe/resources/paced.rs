//! What is read again only after a while, however often something triggers a look.

use std::time::Duration;

use crate::{clock, model::time::Moment};

/// About once a second, and a little less, so that a look a second finds it due.
pub(super) const PACE: Duration = Duration::from_millis(900);
/// The same while two generations are there, and what they use changes fast.
pub(super) const FAST_PACE: Duration = Duration::from_millis(100);

/// What took long is read again after so many times that: half a percent of a core.
const REST: u32 = 200;
/// Whatever it takes, it is read again after this time.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What was read last, and when.
#[derive(Debug)]
pub(super) struct Paced<T> {
    last: Option<(Moment, T)>,
    rest: Duration,
}

impl<T> Default for Paced<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Paced<T> {
    /// Nothing was read yet.
    pub(super) const fn new() -> Self {
        Self { last: None, rest: Duration::ZERO }
    }

    /// What was read less than this ago, or took too long to be read again yet; `None`: it is to be
    /// read again.
    pub(super) fn fresh(&self, at: Moment, pace: Duration) -> Option<&T> {
        let pace = pace.max(self.rest);
        self.last.as_ref().filter(|(when, _)| at.since(*when) < pace).map(|(_, it)| it)
    }

    /// What was read last, however long ago.
    pub(super) fn latest(&self) -> Option<&T> {
        self.last.as_ref().map(|(_, it)| it)
    }

    /// The same, to be changed.
    pub(super) fn latest_mut(&mut self) -> Option<&mut T> {
        self.last.as_mut().map(|(_, it)| it)
    }

    /// Keeps what was read now.
    pub(super) fn keep(&mut self, at: Moment, read: T) -> &mut T {
        &mut self.last.insert((at, read)).1
    }

    /// Keeps what was read now and took this much of this thread's processor time.
    pub(super) fn keep_after(&mut self, at: Moment, read: T, work: Duration) -> &mut T {
        self.rest = rest_after(work);
        self.keep(at, read)
    }

    /// What was read less than this ago, else what is read now.
    pub(super) fn get(&mut self, at: Moment, pace: Duration, read: impl FnOnce() -> T) -> &mut T {
        if self.fresh(at, pace).is_none() {
            self.last = None;
        }
        let begun = clock::work_of_this_thread();
        let is_new = self.last.is_none();
        let last = self.last.get_or_insert_with(|| (at, read()));
        if is_new {
            let work = clock::work_of_this_thread().saturating_sub(begun);
            self.rest = rest_after(work);
        }
        &mut last.1
    }
}

fn rest_after(work: Duration) -> Duration {
    work.saturating_mul(REST).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Timestamp, Uptime};

    #[test]
    fn what_was_read_is_read_again_after_its_pace() {
        let begin = Moment { uptime: Uptime::from_micros(1), wall: Timestamp::default() };
        let mut paced = Paced::default();
        let mut reads = 0;
        for (millis, expected) in [(0, 1), (899, 1), (900, 2), (1000, 2), (5000, 3)] {
            let at = begin.after(Duration::from_millis(millis));
            let read = || {
                reads += 1;
                reads
            };
            assert_eq!(*paced.get(at, PACE, read), expected, "after {millis} ms");
            assert_eq!(paced.fresh(at, PACE), Some(&expected));
        }
        assert_eq!(paced.fresh(begin.after(PACE * 9), PACE), None);
        assert_eq!(paced.latest(), Some(&3));
    }
}
