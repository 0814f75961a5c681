//! What is counted of followed files: lines, codes, and what they claim, stamped.

use super::{Sink, Span};
use crate::{
    decode::error_log::{Counts, LineSplitter},
    model::{
        log::{Claim, LogReport},
        time::Moment,
    },
};

/// What came since the last report.
#[derive(Debug, Default)]
pub struct Reporter {
    counts: Counts,
    claims: Vec<Claim>,
    skipped: u64,
}

/// The unfinished line of one file.
#[derive(Debug, Default)]
pub struct Unfinished {
    splitter: LineSplitter,
    /// It was not begun yet at this moment.
    after: Option<Moment>,
}

impl Reporter {
    /// Whether there is a line that tells something of restarts, stops, exhaustion or crashes.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.counts.is_news()
    }

    /// Takes what came, and begins anew.
    pub fn take(&mut self) -> LogReport {
        let Self { counts, claims, skipped } = std::mem::take(self);
        LogReport {
            lines: counts.lines().collect(),
            events: counts.events().collect(),
            skipped,
            claims,
            sayings: Vec::new(),
        }
    }

    fn line(&mut self, line: &[u8], span: Span) {
        self.counts.take(line);
        // Of a flood the counts keep the first ones.
        if let Some(new) = self.counts.lifecycle().get(self.claims.len()) {
            let Span { after, before } = span;
            self.claims.push(Claim { says: new.says, pid: new.pid, after, before });
        }
    }
}

impl Sink for Reporter {
    type Lines = Unfinished;

    fn feed(&mut self, lines: &mut Unfinished, bytes: &[u8], span: Span) {
        let Unfinished { splitter, after } = lines;
        let mut begun = after.unwrap_or(span.after);
        let skipped = splitter.feed(bytes, |line| {
            self.line(line, Span { after: begun, ..span });
            begun = span.after;
        });
        *after = (bytes.last() != Some(&b'\n')).then_some(begun);
        self.skipped(skipped);
    }

    fn cut(&mut self, lines: &mut Unfinished, before: Moment) {
        let after = lines.after.take().unwrap_or(before);
        lines.splitter.cut(|line| self.line(line, Span { after, before }));
    }

    fn skipped(&mut self, bytes: u64) {
        self.skipped = self.skipped.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        log::{Lifecycle, LogCode, LogLevel},
        time::{Timestamp, Uptime},
    };

    const fn at(second: u64) -> Moment {
        Moment { uptime: Uptime::from_micros(second), wall: Timestamp::from_micros(0) }
    }

    fn span(after: u64, before: u64) -> Span {
        Span { after: at(after), before: at(before) }
    }

    #[test]
    fn a_line_that_came_in_parts_was_not_there_before_its_first_one() {
        let (mut reporter, mut lines) = (Reporter::default(), Unfinished::default());
        reporter.feed(&mut lines, b"AH00493: a\nAH0", span(1, 2));
        reporter.feed(&mut lines, b"04", span(3, 4));
        reporter.feed(&mut lines, b"89: b\nAH00493: c\nAH00494: d", span(5, 6));
        assert!(reporter.is_news());
        reporter.cut(&mut lines, at(7));
        reporter.feed(&mut lines, b"AH00489: e\n", span(8, 9));
        reporter.skipped(5);
        let report = reporter.take();
        let claims = [
            (Lifecycle::Graceful, 1, 2),
            (Lifecycle::Resumed, 1, 6),
            (Lifecycle::Graceful, 5, 6),
            (Lifecycle::Hard, 5, 7),
            (Lifecycle::Resumed, 8, 9),
        ];
        let claim =
            |(says, after, before)| Claim { says, pid: None, after: at(after), before: at(before) };
        assert_eq!(report.claims, claims.map(claim));
        assert_eq!((report.lines, report.skipped), (vec![(LogLevel::None, 5)], 5));
        let events = [(LogCode::Ah00489, 2), (LogCode::Ah00493, 2), (LogCode::Ah00494, 1)];
        assert_eq!(report.events, events);
        assert_eq!(reporter.take(), LogReport::default());
    }

    #[test]
    fn of_a_flood_of_claims_the_first_are_reported() {
        let (mut reporter, mut lines) = (Reporter::default(), Unfinished::default());
        for second in 0..100 {
            reporter.feed(&mut lines, b"AH00493: a\n", span(second, second));
        }
        let report = reporter.take();
        assert_eq!((report.claims.len(), report.events), (64, vec![(LogCode::Ah00493, 100)]));
        assert_eq!(report.claims.last().map(|claim| claim.after), Some(at(63)));
    }
}
