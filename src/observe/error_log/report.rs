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
