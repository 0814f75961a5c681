//! What lines add up to.

use super::{LogLine, line};
use crate::model::{
    log::{Claim, Lifecycle, LogCode, LogLevel, LogReport},
    process::Pid,
    time::Moment,
};

/// How many lifecycle lines are kept: a restart writes two, so that more of them are a flood.
pub const MOST_LIFECYCLE_LINES: usize = 64;

/// Counts of lines by level and by code, and the lifecycle lines among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    levels: [u64; LogLevel::ALL.len()],
    codes: [u64; LogCode::ALL.len()],
    lifecycle: Vec<LifecycleLine>,
}

/// A line that claims something of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleLine {
    /// What it claims.
    pub says: Lifecycle,
    /// Whose line it pretends to be.
    pub pid: Option<Pid>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            levels: [0; LogLevel::ALL.len()],
            codes: [0; LogCode::ALL.len()],
            lifecycle: Vec::new(),
        }
    }
}

impl Counts {
    /// Counts a line, without its line feed.
    pub fn take(&mut self, bytes: &[u8]) {
        self.add(line(bytes));
    }

    /// Counts a line that was read.
    pub fn add(&mut self, line: LogLine) {
        let LogLine { level, code, pid } = line;
        // Values are declared in the order of `ALL`.
        if let Some(count) = self.levels.get_mut(level as usize) {
            *count += 1;
        }
        let Some(code) = code else { return };
        if let Some(count) = self.codes.get_mut(code as usize) {
            *count += 1;
        }
        if let Some(says) = code.lifecycle()
            && self.lifecycle.len() < MOST_LIFECYCLE_LINES
        {
            self.lifecycle.push(LifecycleLine { says, pid });
        }
    }

    /// Whether a line came whose code tells something of restarts, stops, exhaustion or crashes.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.events().any(|(code, _)| code != LogCode::Other)
    }

    /// Lines by level, those levels that there are lines of.
    pub fn lines(&self) -> impl Iterator<Item = (LogLevel, u64)> {
        let counts = LogLevel::ALL.iter().copied().zip(self.levels);
        counts.filter(|(_, count)| *count > 0)
    }

    /// Lines with a code by code, those codes that there are lines of.
    pub fn events(&self) -> impl Iterator<Item = (LogCode, u64)> {
        let counts = LogCode::ALL.iter().copied().zip(self.codes);
        counts.filter(|(_, count)| *count > 0)
    }

    /// Lifecycle lines in their order, the first `MOST_LIFECYCLE_LINES` of them.
    #[must_use]
    pub fn lifecycle(&self) -> &[LifecycleLine] {
        &self.lifecycle
    }

    /// What to report of lines that were not there yet `after`, and were there `before`, of a log
    /// of which so many bytes were skipped.
    #[must_use]
    pub fn report(&self, skipped: u64, after: Moment, before: Moment) -> LogReport {
        let claim = |line: &LifecycleLine| Claim { says: line.says, pid: line.pid, after, before };
        LogReport {
            lines: self.lines().collect(),
            events: self.events().collect(),
            skipped,
            claims: self.lifecycle.iter().map(claim).collect(),
            sayings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str]) -> Counts {
        let mut counts = Counts::default();
        for line in lines {
            counts.take(line.as_bytes());
        }
        counts
    }

    #[test]
    fn every_value_is_counted_at_its_own_place() {
        assert!(LogLevel::ALL.iter().enumerate().all(|(at, level)| *level as usize == at));
        assert!(LogCode::ALL.iter().enumerate().all(|(at, code)| *code as usize == at));
    }

    #[test]
    fn lines_are_counted_by_level_and_by_code() {
        let counts = counted(&[
            "[time] [core:notice] [pid 1] AH00094: Command line: 'httpd'",
            "[time] [authz_core:error] [pid 2] [client ::1:1] AH01630: client denied",
            "[time] [authz_core:error] [pid 2] [client ::1:1] AH01630: client denied",
            "[time] [php:notice] [pid 2] no code",
            "raw",
        ]);
        let lines = [(LogLevel::Error, 2), (LogLevel::Notice, 2), (LogLevel::None, 1)];
        assert_eq!(counts.lines().collect::<Vec<_>>(), lines);
        let events = [(LogCode::Ah00094, 1), (LogCode::Other, 2)];
        assert_eq!(counts.events().collect::<Vec<_>>(), events);
        assert_eq!(counts.lifecycle(), []);
    }

    #[test]
    fn only_codes_of_the_closed_set_are_news() {
        assert!(!counted(&[]).is_news());
        assert!(!counted(&["raw", "[time] [core:error] AH01630: client denied"]).is_news());
        assert!(counted(&["[time] [core:error] AH01630: denied", "AH00526: Syntax"]).is_news());
    }

    #[test]
    fn of_a_flood_of_lifecycle_lines_the_first_are_kept_and_all_are_counted() {
        let mut lines = vec!["AH00493: SIGUSR1 received.  Doing graceful restart"];
        lines.resize(10 * MOST_LIFECYCLE_LINES, "AH00489: configured -- resuming");
        let counts = counted(&lines);
        assert_eq!(counts.lifecycle().len(), MOST_LIFECYCLE_LINES);
        assert_eq!(counts.lifecycle()[0], LifecycleLine { says: Lifecycle::Graceful, pid: None });
        assert_eq!(counts.events().map(|(_, count)| count).sum::<u64>(), lines.len() as u64);
    }
}
