//! Entries as rows for people.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::words::shortened;

use crate::{
    decode::error_log::escaped,
    model::{
        event::{RestartType, StopType},
        journal::{Entry, Outcome, Restart, Start, What},
        time::Timestamp,
    },
};

/// What is shown of words, in bytes.
const LONGEST_WORDS: usize = 500;
const LONGEST_NAME: usize = 100;

/// How rows look.
#[derive(Clone, Debug)]
pub struct Table {
    /// The zone of the times.
    pub zone: TimeZone,
    /// Times that are those of files, as none of their lines has one.
    pub guessed: BTreeSet<Timestamp>,
    /// Whether the terminal is told to show colours.
    pub is_coloured: bool,
}

/// One row, before it is aligned.
struct Row {
    what: &'static str,
    kind: String,
    outcome: String,
    seconds: String,
    why: String,
    colour: Colour,
}

enum Colour {
    None,
    Good,
    Notable,
    Bad,
}

impl Table {
    /// The names of the columns.
    #[must_use]
    pub fn head(&self) -> String {
        let time = format!("TIME ({})", self.zone_name());
        line([&time, "SERVER", "EVENT", "TYPE", "OUTCOME", "SECONDS", "WHY"])
    }

    /// The row of an entry, with its line feed.
    #[must_use]
    pub fn row(&self, entry: &Entry) -> String {
        let Row { what, kind, outcome, seconds, why, colour } = row(&entry.what);
        let time = self.time(entry.at);
        let server = escaped(entry.server.as_bytes(), LONGEST_NAME);
        let why = shortened(&why, LONGEST_WORDS);
        let text = line([&time, &server, what, &kind, &outcome, &seconds, &why]);
        let code = match colour {
            _ if !self.is_coloured => return text,
            Colour::None => return text,
            Colour::Good => 32,
            Colour::Notable => 33,
            Colour::Bad => 31,
        };
        format!("\x1b[{code}m{}\x1b[0m\n", text.trim_end())
    }

    /// What its zone is called.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        match self.zone.iana_name() {
            // What jiff calls a host that does not say.
            Some("Etc/Unknown") => "UTC",
            Some(name) => name,
            None => "local time",
        }
    }

    /// A time by the clock of the zone; one that no line tells begins with `~`.
    #[must_use]
    pub fn time(&self, at: Timestamp) -> String {
        let guess = if self.guessed.contains(&at) { "~" } else { "" };
        guess.to_owned() + &self.exact(at)
    }

    fn exact(&self, at: Timestamp) -> String {
        match jiff::Timestamp::from_microsecond(at.as_micros()) {
            Ok(at) => at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            Err(_) => at.as_micros().to_string(),
        }
    }
}

fn line([time, server, what, kind, outcome, seconds, why]: [&str; 7]) -> String {
    let text = format!(
        "{time:<23}  {server:<8}  {what:<17}  {kind:<18}  {outcome:<11}  {seconds:>8}  {why}"
    );
    text.trim_end().to_owned() + "\n"
}

fn row(what: &What) -> Row {
    let bare = |what, kind: &str, colour| Row {
        what,
        kind: kind.to_owned(),
        outcome: String::new(),
        seconds: String::new(),
        why: String::new(),
        colour,
    };
    match what {
        What::Start(start) => Row { why: of_start(start), ..bare("start", "", Colour::None) },
        What::Restart(restart) => of_restart(restart),
        What::RestartHung { cause } => bare("restart_hung", cause.label(), Colour::Bad),
        What::Stop { kind } => {
            let colour = match kind {
                StopType::Stop | StopType::GracefulStop => Colour::None,
                StopType::FailedRestart | StopType::Crash | StopType::Killed => Colour::Bad,
                StopType::Unknown => Colour::Notable,
            };
            bare("stop", kind.label(), colour)
        }
        What::Drain { generation, duration_seconds, children, outcome } => {
            let of = generation.map_or(String::new(), |number| format!("generation {number}, "));
            Row {
                outcome: outcome.label().to_owned(),
                seconds: format!("{duration_seconds:.3}"),
                why: format!("{of}children {children}"),
                ..bare("drain", "", Colour::None)
            }
        }
        What::Stragglers { children } => {
            let named = children.iter().map(|it| format!("{} {}", it.pid, it.cause.label()));
            let why = named.collect::<Vec<_>>().join(", ");
            Row { why, ..bare("stragglers", "", Colour::Notable) }
        }
        What::ChildCrash { signal } => {
            let signal = escaped(signal.as_bytes(), LONGEST_NAME);
            bare("child_crash", &signal, Colour::Bad)
        }
        What::Exhausted { what } => bare("exhausted", what.label(), Colour::Bad),
        What::PassphrasePrompt { dialog } => {
            let dialog = dialog.map_or("", |dialog| dialog.label());
            bare("passphrase_prompt", dialog, Colour::Notable)
        }
    }
}

fn of_restart(restart: &Restart) -> Row {
    let colour = match (restart.outcome, restart.kind) {
        (Outcome::Failed, _) => Colour::Bad,
        (Outcome::InProgress, _) => Colour::Notable,
        (Outcome::Resumed, RestartType::Graceful) => Colour::Good,
        (Outcome::Resumed, RestartType::Hard | RestartType::Full | RestartType::Unknown) => {
            Colour::Notable
        }
    };
    let reason = restart.reason.map(|reason| reason.label().to_owned());
    let suspects = (!restart.suspects.is_empty()).then(|| restart.suspects.join(" < "));
    let why: Vec<_> = [reason, restart.detail.clone(), suspects].into_iter().flatten().collect();
    Row {
        what: "restart",
        kind: restart.kind.label().to_owned(),
        outcome: restart.outcome.label().to_owned(),
        seconds: restart.duration_seconds.map_or(String::new(), |took| format!("{took:.3}")),
        why: why.join(": "),
        colour,
    }
}

fn of_start(start: &Start) -> String {
    let version = start.version.as_ref().map(|version| format!("httpd {version}"));
    let mpm = start.mpm.clone();
    let unclean = start.unclean.filter(|unclean| *unclean);
    let unclean = unclean.map(|_| "the one before did not clean up".to_owned());
    let words: Vec<_> = [version, mpm, unclean].into_iter().flatten().collect();
    words.join(", ")
}
