//! Entries as a paragraph that can be pasted into a ticket.

use std::collections::{BTreeMap, VecDeque};

use super::{
    table::Table,
    words::{duration, shortened, times},
};
use crate::{
    decode::error_log::escaped,
    model::{
        event::{RestartType, StopType},
        exhaustion::Exhaustion,
        journal::{Entry, Outcome, Restart, What},
        time::Timestamp,
    },
};

/// The last failures are told one by one.
const MOST_FAILURES: usize = 3;
/// Words of a failure, in bytes.
const LONGEST_WORDS: usize = 200;

/// What there is to say of each server.
#[derive(Debug, Default)]
pub struct Summary {
    servers: BTreeMap<String, Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    span: Option<(Timestamp, Timestamp)>,
    resumed: BTreeMap<RestartType, Times>,
    failed: u64,
    failures: VecDeque<(Timestamp, String)>,
    unfinished: u64,
    hung: BTreeMap<&'static str, u64>,
    starts: u64,
    unclean: u64,
    stops: BTreeMap<StopType, u64>,
    crashes: BTreeMap<String, u64>,
    exhausted: BTreeMap<&'static str, u64>,
    addresses: u64,
    prompts: u64,
}

#[derive(Debug, Default)]
struct Times {
    count: u64,
    timed: u32,
    sum: f64,
    longest: f64,
}

impl Summary {
    /// Takes an entry.
    pub fn take(&mut self, entry: &Entry) {
        let name = escaped(entry.server.as_bytes(), 100);
        self.servers.entry(name).or_default().take(entry);
    }

    /// A paragraph for each server, with its line feed; one sentence if there is none.
    #[must_use]
    pub fn text(&self, table: &Table) -> String {
        if self.servers.is_empty() {
            return "Nothing is told of any start, restart or stop.\n".to_owned();
        }
        let paragraphs = self.servers.iter().map(|(name, tally)| tally.text(name, table) + "\n");
        paragraphs.collect::<Vec<_>>().join("\n")
    }
}

impl Tally {
    fn take(&mut self, entry: &Entry) {
        let (first, last) = self.span.unwrap_or((entry.at, entry.at));
        self.span = Some((first.min(entry.at), last.max(entry.at)));
        match &entry.what {
            What::Start(start) => {
                self.starts += 1;
                self.unclean += u64::from(start.unclean == Some(true));
                if start.full_restart == Some(true) {
                    self.resumed.entry(RestartType::Full).or_default().count += 1;
                }
            }
            What::Restart(restart) => self.restart(entry.at, restart),
            What::RestartHung { cause } => *self.hung.entry(cause.label()).or_default() += 1,
            What::Stop { kind } => *self.stops.entry(*kind).or_default() += 1,
            What::Drain { .. } | What::Stragglers { .. } => {}
            What::ChildCrash { signal } => {
                *self.crashes.entry(escaped(signal.as_bytes(), 20)).or_default() += 1;
            }
            What::Exhausted { what: Exhaustion::Address } => self.addresses += 1,
            What::Exhausted { what } => *self.exhausted.entry(what.label()).or_default() += 1,
            What::PassphrasePrompt { .. } => self.prompts += 1,
        }
    }

    fn restart(&mut self, at: Timestamp, restart: &Restart) {
        match restart.outcome {
            Outcome::Resumed => {
                let times = self.resumed.entry(restart.kind).or_default();
                times.count += 1;
                if let Some(seconds) = restart.duration_seconds {
                    times.timed += 1;
                    times.sum += seconds;
                    times.longest = times.longest.max(seconds);
                }
            }
            Outcome::InProgress => self.unfinished += 1,
            Outcome::Failed => {
                self.failed += 1;
                let reason = restart.reason.map(|reason| reason.label().to_owned());
                let words = restart.detail.as_ref();
                let words = words.map(|words| shortened(words, LONGEST_WORDS));
                let why: Vec<_> = [reason, words].into_iter().flatten().collect();
                self.failures.push_back((at, why.join(": ")));
                if self.failures.len() > MOST_FAILURES {
                    self.failures.pop_front();
                }
            }
        }
    }

    fn text(&self, name: &str, table: &Table) -> String {
        let (span, restarts) = (self.of_span(table), self.of_restarts(name));
        let mut sentences = vec![format!("{span} {restarts}.")];
        if self.failed > 0 {
            let (count, failures) = (times(self.failed), self.of_failures(table));
            sentences.push(format!("A restart failed {count}: {failures}."));
        }
        if self.unfinished > 0 {
            let count = times(self.unfinished);
            sentences.push(format!("How a restart ended is not told {count}."));
        }
        if !self.hung.is_empty() {
            sentences.push(format!("Restarts hung, waiting for: {}.", counted(&self.hung)));
        }
        match (self.starts, self.unclean) {
            (0, _) => {}
            (starts, 0) => sentences.push(format!("It was started {}.", times(starts))),
            (starts, unclean) => {
                let (starts, unclean) = (times(starts), times(unclean));
                sentences.push(format!("It was started {starts}, {unclean} after an unclean end."));
            }
        }
        if !self.stops.is_empty() {
            let stop =
                |(kind, count): (&StopType, &u64)| format!("{} {}", times(*count), of_stop(*kind));
            let stops: Vec<_> = self.stops.iter().map(stop).collect();
            sentences.push(format!("It ended {}.", list(&stops)));
        }
        if !self.crashes.is_empty() {
            sentences.push(format!("Children crashed: {}.", counted(&self.crashes)));
        }
        if !self.exhausted.is_empty() {
            sentences.push(format!("Limits were reached: {}.", counted(&self.exhausted)));
        }
        if self.addresses > 0 {
            sentences.push(format!("An address was in use {}.", times(self.addresses)));
        }
        if self.prompts > 0 {
            sentences.push(format!("A pass phrase was asked for {}.", times(self.prompts)));
        }
        sentences.join(" ")
    }

    fn of_restarts(&self, name: &str) -> String {
        let count: u64 = self.resumed.values().map(|times| times.count).sum();
        if count == 0 {
            return format!("{name} was not restarted");
        }
        if let (1, Some((kind, of_kind))) = (self.resumed.len(), self.resumed.first_key_value()) {
            return format!("{name} was restarted {}, {}", times(count), of_kind.text(*kind));
        }
        let kinds = self.resumed.iter().map(|(kind, of_kind)| {
            let how = of_kind.text(*kind);
            format!("{} {how}", times(of_kind.count))
        });
        let kinds = list(&kinds.collect::<Vec<_>>());
        format!("{name} was restarted {}: {kinds}", times(count))
    }

    fn of_span(&self, table: &Table) -> String {
        let (first, last) = self.span.unwrap_or_default();
        let (zone, is_guess) = (table.zone_name(), table.guessed.contains(&first));
        let (from, until) = (table.time(first), table.time(last));
        match (first == last, is_guess) {
            (true, true) => format!("At times that the log does not tell ({from}, {zone})"),
            (true, false) => format!("At {from} ({zone})"),
            (false, _) => format!("Between {from} and {until} ({zone})"),
        }
    }

    fn of_failures(&self, table: &Table) -> String {
        let failures = self.failures.iter();
        let failures = failures.map(|(at, why)| format!("at {} ({why})", table.time(*at)));
        let mut failures: Vec<_> = failures.collect();
        let more = self.failed.saturating_sub(failures.len() as u64);
        if more > 0 {
            failures.insert(0, format!("{} before", times(more)));
        }
        list(&failures)
    }
}

impl Times {
    fn text(&self, kind: RestartType) -> String {
        let how = match kind {
            RestartType::Graceful => "gracefully",
            RestartType::Hard => "hard",
            RestartType::Full => "by a new start",
            RestartType::Unknown => "in a way that is not known",
        };
        match self.timed {
            0 => how.to_owned(),
            1 => format!("{how} ({})", duration(self.sum)),
            timed => {
                let mean = duration(self.sum / f64::from(timed));
                format!("{how} ({mean} on average, {} at most)", duration(self.longest))
            }
        }
    }
}

const fn of_stop(kind: StopType) -> &'static str {
    match kind {
        StopType::Stop => "by a stop",
        StopType::GracefulStop => "by a graceful stop",
        StopType::FailedRestart => "in a restart that failed",
        StopType::Crash => "by a crash",
        StopType::Killed => "by being killed",
        StopType::Unknown => "for a reason that is not known",
    }
}

fn counted<Name: AsRef<str>>(counts: &BTreeMap<Name, u64>) -> String {
    let parts = counts.iter().map(|(name, count)| format!("{} {}", name.as_ref(), times(*count)));
    list(&parts.collect::<Vec<_>>())
}

/// `a`, `a and b`, `a, b and c`.
fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [parts @ .., last] => format!("{} and {last}", parts.join(", ")),
    }
}
