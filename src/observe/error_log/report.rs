//! What is counted of followed files: lines, codes, and what they claim and say, stamped.

use std::collections::VecDeque;

use memchr::memmem;

use super::{Sink, Span};
use crate::{
    decode::error_log::{self, Counts, LineSplitter, LogLine, failure},
    model::{
        log::{Claim, Lifecycle, LogCode, LogLevel, LogReport, Saying},
        process::Pid,
        time::Moment,
    },
};

/// Of what httpd says when it cannot go on the last lines tell why: it ends after them.
pub(super) const MOST_SAYINGS: usize = 16;

/// What came since the last report.
#[derive(Debug, Default)]
pub struct Reporter {
    counts: Counts,
    claims: Vec<Claim>,
    sayings: VecDeque<Saying>,
    skipped: u64,
}

/// The unfinished line of one file.
#[derive(Debug, Default)]
pub struct Unfinished {
    splitter: LineSplitter,
    /// It was not begun yet at this moment.
    after: Option<Moment>,
    /// What a raw line would go on with.
    told: Told,
}

/// What the last line of a file was, as far as the next one may belong to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    /// It needs no next line.
    #[default]
    All,
    /// AH00526: what is wrong there is told by the next one.
    Half,
}

impl Reporter {
    /// Whether there is a line that tells something of restarts, stops, exhaustion or crashes.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.counts.is_news()
    }

    /// Takes what came, and begins anew.
    pub fn take(&mut self) -> LogReport {
        let Self { counts, claims, sayings, skipped } = std::mem::take(self);
        LogReport {
            lines: counts.lines().collect(),
            events: counts.events().collect(),
            skipped,
            claims,
            sayings: sayings.into(),
        }
    }

    fn line(&mut self, told: &mut Told, line: &[u8], span: Span) {
        let read = error_log::line(line);
        self.counts.add(read);
        self.listen(told, line, read, span);
        // Of a flood the counts keep the first ones.
        if let Some(new) = self.counts.lifecycle().get(self.claims.len()) {
            let Span { after, before } = span;
            self.claims.push(Claim { says: new.says, pid: new.pid, after, before });
        }
    }

    /// Keeps what may be why httpd cannot go on.
    fn listen(&mut self, told: &mut Told, line: &[u8], read: LogLine, span: Span) {
        let half = std::mem::take(told) == Told::Half;
        if let Some(code) = read.code.filter(|code| is_restart(*code)) {
            self.part(code, read.pid, span);
            return;
        }
        if !is_serious(line, read, half) {
            return;
        }
        let Some((reason, text)) = failure::saying(line) else { return };
        if reason.is_some() && text.ends_with(':') {
            *told = Told::Half;
        }
        let Span { after, before } = span;
        self.keep(Saying { reason, text, pid: read.pid, after, before });
    }

    /// Parts what is said after a restart's signal was taken from what was said before.
    fn part(&mut self, code: LogCode, pid: Option<Pid>, Span { after, before }: Span) {
        let marker = Saying { reason: None, text: code.label().to_owned(), pid, after, before };
        match self.sayings.back_mut() {
            // A flood of them must not take the place of words.
            Some(last) if last.text == marker.text => *last = marker,
            Some(_) | None => self.keep(marker),
        }
    }

    fn keep(&mut self, saying: Saying) {
        if self.sayings.len() == MOST_SAYINGS {
            self.sayings.pop_front();
        }
        self.sayings.push_back(saying);
    }
}

/// By which a parent says that it took a restart's signal.
fn is_restart(code: LogCode) -> bool {
    matches!(code.lifecycle(), Some(Lifecycle::Graceful | Lifecycle::Hard))
}

/// Whether a line needs a second look, which costs many times the first one. Raw lines are mostly
/// of what runs in children: they count if they are httpd's, or go on with one that is.
fn is_serious(line: &[u8], read: LogLine, goes_on: bool) -> bool {
    let holds = |words: &[u8]| memmem::find(line, words).is_some();
    match (read.level, read.code) {
        (LogLevel::Emerg | LogLevel::Alert | LogLevel::Crit, _) | (LogLevel::None, Some(_)) => true,
        (LogLevel::Error, Some(_)) => !holds(b"[client ") && !holds(b"[remote "),
        (LogLevel::None, None) => {
            goes_on || holds(b": Syntax error on line ") || holds(b": Could not open configuration")
        }
        (
            LogLevel::Error
            | LogLevel::Warn
            | LogLevel::Notice
            | LogLevel::Info
            | LogLevel::Debug
            | LogLevel::Trace,
            _,
        ) => false,
    }
}

impl Sink for Reporter {
    type Lines = Unfinished;

    fn feed(&mut self, lines: &mut Unfinished, bytes: &[u8], span: Span) {
        let Unfinished { splitter, after, told } = lines;
        let mut begun = after.unwrap_or(span.after);
        let skipped = splitter.feed(bytes, |line| {
            self.line(told, line, Span { after: begun, ..span });
            begun = span.after;
        });
        *after = (bytes.last() != Some(&b'\n')).then_some(begun);
        self.skipped(skipped);
    }

    fn cut(&mut self, lines: &mut Unfinished, before: Moment) {
        let after = lines.after.take().unwrap_or(before);
        let Unfinished { splitter, told, .. } = lines;
        splitter.cut(|line| self.line(told, line, Span { after, before }));
        *told = Told::All;
    }

    fn skipped(&mut self, bytes: u64) {
        self.skipped = self.skipped.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::RecvFlags;

    use super::{
        super::message::{self, Answer, Message, Received},
        *,
    };
    use crate::model::{
        event::FailureReason,
        log::{Lifecycle, LogCode, LogLevel},
        process::Pid,
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
        let parted: Vec<&str> = report.sayings.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(parted, ["AH00493", "AH00494"]);
        assert_eq!((report.lines, report.skipped), (vec![(LogLevel::None, 5)], 5));
        let events = [(LogCode::Ah00489, 2), (LogCode::Ah00493, 2), (LogCode::Ah00494, 1)];
        assert_eq!(report.events, events);
        assert_eq!(reporter.take(), LogReport::default());
    }

    #[test]
    fn what_httpd_says_when_it_cannot_go_on_is_kept_in_its_words() {
        let (mut reporter, mut lines) = (Reporter::default(), Unfinished::default());
        let text = "PHP Warning:  raw line of a script\n\
            [t] [core:error] [pid 7:tid 7] [client ::1:1] AH00128: File does not exist\n\
            AH00526: Syntax error on line 5 of /x:\nInvalid command 'Y\x1b[2J'\n\
            Another raw line\n\
            [t] [:emerg] [pid 9:tid 9] AH00020: Configuration Failed, exiting\n";
        let (first, second) = text.split_at(text.find("command").unwrap());
        reporter.feed(&mut lines, first.as_bytes(), span(1, 2));
        reporter.feed(&mut lines, second.as_bytes(), span(3, 4));
        let sayings = reporter.take().sayings;
        let told: Vec<_> =
            sayings.iter().map(|it| (it.reason, it.text.as_str(), it.after, it.before)).collect();
        let config = Some(FailureReason::Config);
        assert_eq!(
            told,
            [
                (config, "AH00526: Syntax error on line 5 of /x:", at(1), at(2)),
                (None, "Invalid command 'Y\\x1b[2J'", at(1), at(4)),
                (None, "AH00020: Configuration Failed, exiting", at(3), at(4)),
            ]
        );
        assert_eq!(sayings.last().and_then(|it| it.pid).map(Pid::as_raw), Some(9));
    }

    #[test]
    fn of_a_flood_of_sayings_the_last_are_reported_and_fit_into_a_message() {
        let (mut reporter, mut lines) = (Reporter::default(), Unfinished::default());
        for second in 0..100 {
            let line = format!("[t] [core:crit] [pid 1] {second} {}\n", "x".repeat(8000));
            reporter.feed(&mut lines, line.as_bytes(), span(second, second));
        }
        let report = reporter.take();
        assert_eq!(report.sayings.len(), MOST_SAYINGS);
        assert_eq!(report.sayings.last().map(|saying| saying.after), Some(at(99)));
        let (own, other) = message::pair().unwrap();
        let report = Ok(report);
        let answer = Message::Answer(Answer { serial: 1, server: 1, report, file: None });
        message::send(&own, &answer, None).unwrap();
        let got: Received<Message> = message::receive(&other, RecvFlags::DONTWAIT).unwrap();
        assert!(matches!(got, Received::Message(message, None) if message == answer));
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
