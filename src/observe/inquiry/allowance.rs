//! How often httpd may be asked: each question is a configtest, which costs what reading the
//! configuration costs.

use std::time::Duration;

use crate::model::time::Moment;

/// Questions that may follow each other; an operator who mends what he broke wants to see it.
const MOST: u32 = 5;
/// After this time one more may be asked.
const EACH: Duration = Duration::from_secs(10);
/// Even then.
const APART: Duration = Duration::from_secs(1);
/// A configuration that takes long to read rests so many times as long, up to a minute.
const REST: u32 = 10;
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Questions that were asked lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// They were asked up to then, one after each [`EACH`].
    filled: Option<Moment>,
    /// Nobody is asked before.
    rests: Option<Moment>,
}

impl Allowance {
    /// One may be asked now.
    pub(super) fn permits(&self, at: Moment) -> bool {
        let has_rested = self.rests.is_none_or(|until| at >= until);
        let room = EACH * (MOST - 1);
        has_rested && self.filled.is_none_or(|filled| filled.since(at) <= room)
    }

    /// One is asked.
    pub(super) fn spend(&mut self, at: Moment) {
        self.filled = Some(self.filled.map_or(at, |filled| filled.max(at)).after(EACH));
        self.rests = Some(at.after(APART));
    }

    /// It was answered after this time.
    pub(super) fn rest(&mut self, at: Moment, took: Duration) {
        let rest = took.saturating_mul(REST).min(LONGEST_REST);
        self.rests = self.rests.max(Some(at.after(rest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Timestamp, Uptime};

    fn at(seconds: u64) -> Moment {
        let start = Moment { uptime: Uptime::default(), wall: Timestamp::default() };
        start.after(Duration::from_secs(seconds))
    }

    #[test]
    fn five_may_follow_each_other_and_then_one_each_ten_seconds() {
        let mut allowance = Allowance::default();
        let mut asked = Vec::new();
        for second in 0..60 {
            if allowance.permits(at(second)) {
                allowance.spend(at(second));
                asked.push(second);
            }
        }
        assert_eq!(asked, [0, 1, 2, 3, 4, 10, 20, 30, 40, 50]);
        let quiet = at(1000);
        assert!(allowance.permits(quiet));
        allowance.spend(quiet);
        assert!(!allowance.permits(quiet) && allowance.permits(at(1001)));
    }

    #[test]
    fn a_large_configuration_rests_in_proportion() {
        let mut allowance = Allowance::default();
        allowance.spend(at(0));
        allowance.rest(at(2), Duration::from_secs(2));
        assert!(!allowance.permits(at(21)) && allowance.permits(at(22)));
        allowance.rest(at(30), Duration::from_secs(10));
        assert!(!allowance.permits(at(89)) && allowance.permits(at(90)));
    }
}
