//! The journal's entries: what happened to one server, as lines for people and scripts.

use std::{collections::BTreeMap, time::Duration};

use super::{last_restart::LastRestart, stragglers::LongStragglers};
use crate::model::{
    build::HttpdBuild,
    event::{Event, RestartType, StopType},
    exhaustion::Exhaustion,
    hang::{Dialog, HangCause},
    journal::{Entry, Origin, Outcome, Restart, Start, What, seconds},
    log::{Claim, Lifecycle, LogCode, LogReport},
    scoreboard::Generation,
    signal::signal_name,
    source::Source,
    straggler::Straggler,
    time::{Moment, Timestamp, Uptime},
};

/// How far a line of the log may lie from what it tells.
const SAME: Duration = Duration::from_secs(2);
/// Lifecycle lines that are remembered: more than one restart has.
const MOST_CLAIMS: usize = 32;
/// Drains that are remembered: more than httpd has slots for generations.
const MOST_DRAINS: usize = 1024;

/// What a look knows besides its events.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is another fact of a look")]
pub struct Circumstances<'a> {
    /// The label `server`.
    pub server: &'a str,
    /// When the look began.
    pub at: Moment,
    /// Generations have httpd's own numbers.
    pub numbered: bool,
    /// When each unfinished drain began.
    pub drains: Option<&'a BTreeMap<Generation, Moment>>,
    /// Old children that live.
    pub stragglers: &'a [Straggler],
    /// The process table was read.
    pub table: bool,
    /// The scoreboard was read.
    pub scoreboard: bool,
    /// What came into the error log.
    pub log: Option<&'a LogReport>,
    /// The living parent makes good for one that served before: its start will be a full restart.
    pub awaits_full_restart: bool,
    /// httpd's release and MPM, where known.
    pub build: Option<&'a HttpdBuild>,
}

/// Writes down what happens to one server.
#[derive(Clone, Debug)]
pub struct Scribe {
    /// Since when a parent that begins to serve is seen to.
    since: Moment,
    /// When each open drain began, and whether its number is httpd's own.
    drains: BTreeMap<Generation, (Moment, bool)>,
    claims: Vec<Claim>,
    last: Option<LastRestart>,
    hang: Option<HangCause>,
    dialog: Option<Dialog>,
    stragglers: LongStragglers,
}

impl Scribe {
    /// For a server that is watched `since` then, or was by an earlier run.
    #[must_use]
    pub const fn new(since: Moment) -> Self {
        Self {
            since,
            drains: BTreeMap::new(),
            claims: Vec::new(),
            last: None,
            hang: None,
            dialog: None,
            stragglers: LongStragglers::new(),
        }
    }

    /// Takes up what an earlier run wrote of this server, the oldest first.
    pub fn read<'a>(&mut self, entries: impl DoubleEndedIterator<Item = &'a Entry>) {
        self.last = entries.rev().find_map(LastRestart::of);
    }

    /// The last restart that is over.
    #[must_use]
    pub const fn last(&self) -> Option<&LastRestart> {
        self.last.as_ref()
    }

    /// Takes who could have caused the restart that began then.
    pub fn suspect(&mut self, began: Timestamp, names: Vec<String>) {
        if let Some(last) = self.last.as_mut().filter(|last| last.at == began) {
            last.suspects = names;
        }
    }

    /// What the restart in progress waits for, if it hangs.
    #[must_use]
    pub const fn hang(&self) -> Option<HangCause> {
        self.hang
    }

    /// Whom httpd asks for a pass phrase now.
    #[must_use]
    pub const fn dialog(&self) -> Option<Dialog> {
        self.dialog
    }

    /// The entries of one look, in the order of its events.
    pub fn write(&mut self, now: &Circumstances<'_>, events: &[Event]) -> Vec<Entry> {
        self.claims.extend(now.log.iter().flat_map(|log| &log.claims));
        let beyond = self.claims.len().saturating_sub(MOST_CLAIMS);
        self.claims.drain(..beyond);
        let mut entries = Vec::new();
        for (index, event) in events.iter().enumerate() {
            self.follow(now, event);
            let Some((at, what, evidence)) = self.entry(now, events, event) else { continue };
            let later = events.get(index..).unwrap_or_default();
            let at = if is_stop(event) { no_later_than_the_next_start(at, later) } else { at };
            let entry = Entry { at, server: now.server.to_owned(), what, evidence };
            if let Some(last) = LastRestart::of(&entry) {
                let duration_seconds = duration(event);
                self.last = Some(LastRestart { duration_seconds, ..last });
            }
            entries.push(entry);
        }
        if let Some(what) = self.stragglers.observe(now.at, now.stragglers) {
            let evidence = seen(now.table, now.scoreboard, false);
            let (at, server) = (now.at.wall, now.server.to_owned());
            entries.push(Entry { at, server, what, evidence });
        }
        // An earlier run saw them begin.
        for (generation, began) in now.drains.into_iter().flatten() {
            if self.drains.len() < MOST_DRAINS {
                self.drains.entry(*generation).or_insert((*began, now.numbered));
            }
        }
        entries
    }

    /// What later entries need.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most events are told at once")]
    fn follow(&mut self, now: &Circumstances<'_>, event: &Event) {
        match event {
            Event::DrainBegan { generation, at } if self.drains.len() < MOST_DRAINS => {
                self.drains.insert(*generation, (*at, now.numbered));
            }
            Event::ParentAppeared { .. } | Event::Stopped { .. } => {
                self.hang = None;
                self.dialog = None;
            }
            Event::RestartBegan { .. } | Event::Restarted { .. } | Event::RestartFailed { .. } => {
                self.hang = None;
            }
            Event::RestartHung { cause, .. } => self.hang = Some(*cause),
            Event::PromptBegan { dialog, .. } => self.dialog = Some(*dialog),
            Event::PromptEnded { .. } => self.dialog = None,
            _ => {}
        }
    }

    fn entry(
        &mut self,
        now: &Circumstances<'_>,
        events: &[Event],
        event: &Event,
    ) -> Option<(Timestamp, What, Vec<Source>)> {
        let (at, what, evidence) = match event {
            Event::ParentAppeared { started, .. } => {
                if !self.sees_start(now, *started, events) {
                    return None;
                }
                (*started, start(now, false), self.evidence_of_start(now, *started))
            }
            Event::Restarted { began, .. }
            | Event::RestartFailed { began, .. }
            | Event::RestartHung { began, .. } => {
                (*began, restart(now, event)?, self.evidence_of_restart(now, *began))
            }
            Event::Stopped { at, kind } => {
                if *kind == StopType::FailedRestart {
                    // Its own line tells of its parent's end.
                    return None;
                }
                let said = [Lifecycle::Stopped, Lifecycle::GracefulStop];
                let evidence = seen(now.table, false, self.log_told(&said, *at, now.at));
                (*at, What::Stop { kind: *kind }, evidence)
            }
            Event::DrainEnded { generation, lasted, children, outcome } => {
                let known = self.drains.remove(generation);
                let numbered = now.numbered || known.is_some_and(|(_, numbered)| numbered);
                let began = known.map_or_else(|| before(now.at, *lasted), |(began, _)| began);
                let what = What::Drain {
                    generation: numbered.then(|| generation.number()),
                    duration_seconds: seconds::rounded(lasted.as_secs_f64()),
                    children: *children,
                    outcome: *outcome,
                };
                (began, what, seen(now.table, now.scoreboard, false))
            }
            Event::PromptBegan { .. }
            | Event::ChildCrashed { .. }
            | Event::Exhausted { .. }
            | Event::RestartBegan { .. }
            | Event::ServedAgain { .. }
            | Event::PromptEnded { .. }
            | Event::DrainBegan { .. }
            | Event::ChildDrained { .. }
            | Event::ChildrenStarted { .. }
            | Event::ChildExited { .. }
            | Event::Overlapped { .. }
            | Event::Owed { .. }
            | Event::Paid { .. }
            | Event::LogRead(_)
            | Event::Contradicted(_) => trouble(now, event)?,
        };
        Some((at.wall, what, evidence))
    }

    /// A parent that served already when it was first seen was not seen to begin, and one after
    /// another is a full restart as soon as it serves.
    fn sees_start(&self, now: &Circumstances<'_>, started: Moment, events: &[Event]) -> bool {
        let full =
            |event: &Event| matches!(event, Event::Restarted { kind: RestartType::Full, .. });
        started > self.since && !now.awaits_full_restart && !events.iter().any(full)
    }

    fn evidence_of_start(&self, now: &Circumstances<'_>, started: Moment) -> Vec<Source> {
        seen(now.table, now.scoreboard, self.log_told(&[Lifecycle::Resumed], started, now.at))
    }

    fn evidence_of_restart(&self, now: &Circumstances<'_>, began: Moment) -> Vec<Source> {
        let said = [Lifecycle::Graceful, Lifecycle::Hard, Lifecycle::Resumed];
        seen(now.table, now.scoreboard, self.log_told(&said, began, now.at))
    }

    /// The log tells of it too: one of these lines was written between these moments.
    fn log_told(&self, said: &[Lifecycle], from: Moment, until: Moment) -> bool {
        self.claims.iter().any(|claim| {
            said.contains(&claim.says)
                && claim.before.after(SAME) >= from
                && claim.after <= until.after(SAME)
        })
    }
}

const fn is_stop(event: &Event) -> bool {
    matches!(event, Event::Stopped { .. })
}

/// A stop that nobody saw is dated by who found it, who came after the parent that follows.
fn no_later_than_the_next_start(at: Timestamp, later: &[Event]) -> Timestamp {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only these tell of a start")]
    let started = later.iter().filter_map(|event| match event {
        Event::ParentAppeared { started, .. } => Some(started.wall),
        Event::Restarted { kind: RestartType::Full, began, .. } => Some(began.wall),
        _ => None,
    });
    started.chain([at]).min().unwrap_or(at)
}

fn start(now: &Circumstances<'_>, full_restart: bool) -> What {
    What::Start(Start {
        version: now.build.and_then(|build| build.version.clone()),
        mpm: now.build.and_then(|build| build.mpm.clone()),
        full_restart: Some(full_restart),
        unclean: now.log.filter(|log| counts(log, LogCode::Ah00098)).map(|_| true),
    })
}

/// What is told of a restart.
#[expect(clippy::wildcard_enum_match_arm, reason = "only these tell of one")]
fn restart(now: &Circumstances<'_>, event: &Event) -> Option<What> {
    let restart = |kind, outcome| Restart {
        kind,
        outcome,
        reason: None,
        duration_seconds: duration(event),
        // gracekeeper signals nobody.
        origin: Some(Origin::Other),
        // Who looks for them is not back yet.
        suspects: Vec::new(),
        detail: None,
    };
    Some(match event {
        Event::Restarted { kind: RestartType::Full, .. } => start(now, true),
        Event::Restarted { kind, .. } => What::Restart(restart(*kind, Outcome::Resumed)),
        Event::RestartFailed { kind, reason, detail, .. } => What::Restart(Restart {
            reason: Some(*reason),
            detail: detail.clone(),
            ..restart(*kind, Outcome::Failed)
        }),
        Event::RestartHung { cause, .. } => What::RestartHung { cause: *cause },
        _ => return None,
    })
}

/// What is told of anything that goes wrong besides.
#[expect(clippy::wildcard_enum_match_arm, reason = "of most events nothing is told")]
fn trouble(now: &Circumstances<'_>, event: &Event) -> Option<(Moment, What, Vec<Source>)> {
    let table = seen(now.table, false, false);
    Some(match event {
        Event::PromptBegan { at, dialog } => {
            (*at, What::PassphrasePrompt { dialog: Some(*dialog) }, table)
        }
        Event::ChildCrashed { at, signal } => {
            (*at, What::ChildCrash { signal: signal_name(*signal) }, table)
        }
        Event::Exhausted { at, what } => {
            (*at, What::Exhausted { what: *what }, evidence_of_exhaustion(now, *what))
        }
        _ => return None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only a restart has one")]
fn duration(event: &Event) -> Option<f64> {
    match event {
        Event::Restarted { took, .. } => {
            // What began and ended in one reading of the clock took as long as nobody knows.
            let took = took.map(|took| seconds::rounded(took.as_secs_f64()));
            took.filter(|took| *took > 0.0)
        }
        _ => None,
    }
}

/// In the contract's order.
fn seen(table: bool, scoreboard: bool, log: bool) -> Vec<Source> {
    let all =
        [(table, Source::ProcessTable), (scoreboard, Source::Scoreboard), (log, Source::ErrorLog)];
    all.into_iter().filter_map(|(seen, source)| seen.then_some(source)).collect()
}

fn counts(log: &LogReport, code: LogCode) -> bool {
    log.events.iter().any(|(it, count)| *it == code && *count > 0)
}

/// The log tells of limits, and of some the scoreboard.
fn evidence_of_exhaustion(now: &Circumstances<'_>, what: Exhaustion) -> Vec<Source> {
    let codes: &[LogCode] = match what {
        Exhaustion::MaxRequestWorkers => {
            &[LogCode::Ah00484, LogCode::Ah00286, LogCode::Ah00161, LogCode::Ah10159]
        }
        Exhaustion::Scoreboard => &[LogCode::Ah03490, LogCode::Ah00288, LogCode::Ah00161],
        Exhaustion::Fork | Exhaustion::Fds | Exhaustion::Semaphores | Exhaustion::Address => {
            return seen(false, false, now.log.is_some());
        }
    };
    let told = now.log.is_some_and(|log| codes.iter().any(|code| counts(log, *code)));
    seen(false, now.scoreboard && !told, told)
}

/// The moment so long before another one.
fn before(moment: Moment, lasted: Duration) -> Moment {
    let lasted = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
    moment.at_uptime(Uptime::from_micros(moment.uptime.as_micros().saturating_sub(lasted)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        decode::journal::entry,
        model::{
            drift::Reason,
            event::{Contradiction, DrainOutcome, ExitReason, FailureReason},
            hang::PromptOutcome,
            process::{Pid, ProcessId},
        },
    };

    /// So many milliseconds after 2026-11-22T10:32:12Z.
    fn after(milliseconds: u64) -> Moment {
        let zero = Moment {
            uptime: Uptime::from_micros(900_000_000),
            wall: Timestamp::from_micros(1_795_343_532_000_000),
        };
        zero.after(Duration::from_millis(milliseconds))
    }

    fn claim(says: Lifecycle, at: u64) -> Claim {
        Claim { says, pid: None, after: after(at.saturating_sub(50)), before: after(at) }
    }

    fn circumstances(log: Option<&LogReport>) -> Circumstances<'_> {
        Circumstances {
            server: "main",
            at: after(5000),
            numbered: true,
            drains: None,
            stragglers: &[],
            table: true,
            scoreboard: true,
            log,
            awaits_full_restart: false,
            build: None,
        }
    }

    fn lines(scribe: &mut Scribe, now: &Circumstances<'_>, events: &[Event]) -> Vec<String> {
        let entries = scribe.write(now, events);
        entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
    }

    /// What one event makes of a server that is watched since the first millisecond: without the
    /// time of its second, and the server.
    #[track_caller]
    fn assert_line(now: &Circumstances<'_>, events: &[Event], expected: &str) {
        let mut scribe = Scribe::new(after(1));
        let told = lines(&mut scribe, now, events);
        let told: Vec<String> = told
            .iter()
            .map(|line| {
                let line = line.strip_prefix("{\"at\":\"2026-11-22T10:32:").unwrap();
                line.replacen("Z\",\"server\":\"main\",\"event\":", " ", 1)
            })
            .collect();
        assert_eq!(told.join("\n"), expected);
    }

    fn restarted(kind: RestartType, took: Option<u64>) -> Event {
        Event::Restarted {
            kind,
            began: after(4900),
            took: took.map(Duration::from_millis),
            left: Some(Generation::default()),
            coalesced: false,
            interrupted: 0,
        }
    }

    fn appeared(started: u64) -> Event {
        let parent = ProcessId { pid: Pid::new(7).unwrap(), started: after(started).uptime };
        Event::ParentAppeared { parent, started: after(started) }
    }

    #[test]
    fn restarts_are_told_with_their_ends_and_their_witnesses() {
        let log =
            LogReport { claims: vec![claim(Lifecycle::Graceful, 4910)], ..LogReport::default() };
        let old =
            LogReport { claims: vec![claim(Lifecycle::Graceful, 1000)], ..LogReport::default() };
        let graceful = restarted(RestartType::Graceful, Some(54));
        assert_line(
            &circumstances(Some(&log)),
            &[Event::RestartBegan { at: after(4900) }, graceful.clone()],
            "16.900000 \"restart\",\"type\":\"graceful\",\"outcome\":\"resumed\",\
             \"duration_seconds\":0.054,\"origin\":\"other\",\
             \"evidence\":[\"process_table\",\"scoreboard\",\"error_log\"]}",
        );
        assert_line(
            &Circumstances { scoreboard: false, ..circumstances(Some(&old)) },
            &[restarted(RestartType::Unknown, None)],
            "16.900000 \"restart\",\"type\":\"unknown\",\"outcome\":\"resumed\",\
             \"origin\":\"other\",\"evidence\":[\"process_table\"]}",
        );
        let failed = Event::RestartFailed {
            kind: RestartType::Graceful,
            began: after(4900),
            reason: FailureReason::Config,
            detail: Some("AH00526: \"Foo\"".to_owned()),
        };
        let stopped = Event::Stopped { at: after(4990), kind: StopType::FailedRestart };
        let failing = Circumstances { scoreboard: false, ..circumstances(None) };
        assert_line(
            &failing,
            &[failed, stopped],
            "16.900000 \"restart\",\"type\":\"graceful\",\"outcome\":\"failed\",\
             \"reason\":\"config\",\"origin\":\"other\",\"detail\":\"AH00526: \\\"Foo\\\"\",\
             \"evidence\":[\"process_table\"]}",
        );
        assert_line(
            &circumstances(None),
            &[Event::RestartHung { began: after(4900), cause: HangCause::Passphrase }],
            "16.900000 \"restart_hung\",\"cause\":\"passphrase\",\
             \"evidence\":[\"process_table\",\"scoreboard\"]}",
        );
    }

    #[test]
    fn a_start_is_told_if_it_was_seen_and_once() {
        let now = circumstances(None);
        let witnesses = "\"evidence\":[\"process_table\",\"scoreboard\"]}";
        assert_line(&now, &[appeared(0)], "");
        let build = HttpdBuild {
            version: Some("2.4.71".to_owned()),
            mpm: Some("event".to_owned()),
            ..HttpdBuild::default()
        };
        assert_line(
            &Circumstances { build: Some(&build), ..now },
            &[appeared(4000)],
            &format!(
                "16.000000 \"start\",\"version\":\"2.4.71\",\"mpm\":\"event\",\
                 \"full_restart\":false,{witnesses}"
            ),
        );
        let full = restarted(RestartType::Full, Some(30));
        let awaits = Circumstances { awaits_full_restart: true, ..now };
        assert_line(&awaits, &[appeared(4000)], "");
        let told = format!("16.900000 \"start\",\"full_restart\":true,{witnesses}");
        assert_line(&now, &[appeared(4000), full.clone()], &told);
        let log = LogReport { events: vec![(LogCode::Ah00098, 1)], ..LogReport::default() };
        let unclean = told.replace("true,", "true,\"unclean\":true,");
        assert_line(&circumstances(Some(&log)), &[full], &unclean);
    }

    #[test]
    fn a_stop_that_nobody_saw_was_not_after_the_start_that_followed() {
        let stop = Event::Stopped { at: after(5000), kind: StopType::Unknown };
        let line =
            |at| format!("{at} \"stop\",\"type\":\"unknown\",\"evidence\":[\"process_table\"]}}");
        let now = Circumstances { awaits_full_restart: true, ..circumstances(None) };
        assert_line(&now, &[stop.clone(), appeared(4000)], &line("16.000000"));
        assert_line(&now, &[appeared(4000), stop], &line("17.000000"));
    }

    #[test]
    fn a_restart_that_began_and_ended_in_one_reading_has_no_duration() {
        let took = Some(Duration::from_micros(1));
        let restart = Event::Restarted {
            kind: RestartType::Graceful,
            began: after(4900),
            took,
            left: None,
            coalesced: false,
            interrupted: 0,
        };
        assert_line(
            &circumstances(None),
            &[restart],
            "16.900000 \"restart\",\"type\":\"graceful\",\"outcome\":\"resumed\",\
             \"origin\":\"other\",\"evidence\":[\"process_table\",\"scoreboard\"]}",
        );
    }

    #[test]
    fn everything_else_is_told_in_its_own_words() {
        let log = LogReport { events: vec![(LogCode::Ah00484, 1)], ..LogReport::default() };
        let now = circumstances(Some(&log));
        let stop = |kind| Event::Stopped { at: after(4990), kind };
        let table = [
            (
                stop(StopType::GracefulStop),
                "16.990000 \"stop\",\"type\":\"graceful_stop\",\"evidence\":[\"process_table\"]}",
            ),
            (
                Event::DrainEnded {
                    generation: Generation::new(3),
                    lasted: Duration::from_millis(1500),
                    children: 2,
                    outcome: DrainOutcome::Drained,
                },
                "15.500000 \"drain\",\"generation\":3,\"duration_seconds\":1.5,\"children\":2,\
                 \"outcome\":\"drained\",\"evidence\":[\"process_table\",\"scoreboard\"]}",
            ),
            (
                Event::ChildCrashed { at: after(0), signal: 11 },
                "12.000000 \"child_crash\",\"signal\":\"SIGSEGV\",\"evidence\":[\"process_table\"]}",
            ),
            (
                Event::Exhausted { at: after(0), what: Exhaustion::MaxRequestWorkers },
                "12.000000 \"exhausted\",\"what\":\"max_request_workers\",\
                 \"evidence\":[\"error_log\"]}",
            ),
            (
                Event::Exhausted { at: after(0), what: Exhaustion::Scoreboard },
                "12.000000 \"exhausted\",\"what\":\"scoreboard\",\"evidence\":[\"scoreboard\"]}",
            ),
            (
                Event::PromptBegan { at: after(0), dialog: Dialog::Exec },
                "12.000000 \"passphrase_prompt\",\"dialog\":\"exec\",\
                 \"evidence\":[\"process_table\"]}",
            ),
        ];
        for (event, expected) in table {
            assert_line(&now, &[event], expected);
        }
    }

    #[test]
    fn a_drain_that_an_earlier_run_saw_begin_is_told_from_there() {
        let mut scribe = Scribe::new(after(1));
        let drains = BTreeMap::from([(Generation::new(3), after(250))]);
        scribe.write(&Circumstances { drains: Some(&drains), ..circumstances(None) }, &[]);
        let ended = Event::DrainEnded {
            generation: Generation::new(3),
            lasted: Duration::from_secs(4),
            children: 1,
            outcome: DrainOutcome::Interrupted,
        };
        let now = Circumstances { numbered: false, ..circumstances(None) };
        let told = lines(&mut scribe, &now, &[ended]);
        assert!(told[0].contains("12.250000Z\""), "{told:?}");
        assert!(told[0].contains("\"generation\":3,"), "its number was known: {told:?}");
    }

    #[test]
    fn the_last_restart_is_remembered_and_read_back() {
        let now = circumstances(None);
        let mut scribe = Scribe::new(after(1));
        let hung = Event::RestartHung { began: after(4000), cause: HangCause::Children };
        scribe.write(&now, &[hung, Event::PromptBegan { at: after(1), dialog: Dialog::Pipe }]);
        assert_eq!(
            (scribe.hang(), scribe.dialog()),
            (Some(HangCause::Children), Some(Dialog::Pipe))
        );
        assert_eq!(scribe.last(), None);
        let ended = Event::PromptEnded { began: after(1), outcome: PromptOutcome::Answered };
        let entries =
            scribe.write(&now, &[restarted(RestartType::Hard, Some(30)), ended, appeared(4990)]);
        assert_eq!((scribe.hang(), scribe.dialog()), (None, None));
        scribe.suspect(after(1).wall, vec!["x".to_owned()]);
        assert!(scribe.last().unwrap().suspects.is_empty(), "another one's");
        scribe.suspect(after(4900).wall, vec!["cron".to_owned()]);
        assert_eq!(scribe.last().unwrap().suspects, ["cron"]);
        scribe.suspect(after(4900).wall, Vec::new());
        let last = scribe.last().unwrap();
        assert_eq!((last.kind, last.duration_seconds), (RestartType::Hard, Some(0.03)));
        let mut next = Scribe::new(after(9000));
        next.read(entries.iter());
        assert_eq!(next.last(), Some(last));
        scribe.write(&now, &[restarted(RestartType::Full, Some(40))]);
        let last = scribe.last().unwrap();
        assert_eq!((last.kind, last.duration_seconds), (RestartType::Full, Some(0.04)));
    }

    fn any_of<T: Copy + std::fmt::Debug>(all: &'static [T]) -> impl Strategy<Value = T> {
        prop::sample::select(all)
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let at = || (0_u64..9_000_000).prop_map(after);
        let lasted = || any::<u64>().prop_map(Duration::from_micros);
        let restarts = (any_of(RestartType::ALL), at(), prop::option::of(lasted())).prop_map(
            |(kind, began, took)| Event::Restarted {
                kind,
                began,
                took,
                left: None,
                coalesced: false,
                interrupted: 0,
            },
        );
        let failures = (any_of(FailureReason::ALL), at(), prop::option::of(".{0,200}")).prop_map(
            |(reason, began, detail)| Event::RestartFailed {
                kind: RestartType::Unknown,
                began,
                reason,
                detail,
            },
        );
        let drains = (any::<i32>(), lasted(), any::<u32>(), any_of(DrainOutcome::ALL)).prop_map(
            |(number, lasted, children, outcome)| Event::DrainEnded {
                generation: Generation::new(number),
                lasted,
                children,
                outcome,
            },
        );
        prop_oneof![
            restarts,
            failures,
            drains,
            (any_of(StopType::ALL), at()).prop_map(|(kind, at)| Event::Stopped { at, kind }),
            (any_of(HangCause::ALL), at())
                .prop_map(|(cause, began)| Event::RestartHung { began, cause }),
            (any_of(Dialog::ALL), at()).prop_map(|(dialog, at)| Event::PromptBegan { at, dialog }),
            (any_of(Exhaustion::ALL), at()).prop_map(|(what, at)| Event::Exhausted { at, what }),
            (any::<u8>(), at()).prop_map(|(signal, at)| Event::ChildCrashed { at, signal }),
            (0_u64..9000).prop_map(appeared),
            any_of(ExitReason::ALL).prop_map(|reason| Event::ChildExited { reason }),
            any_of(Contradiction::ALL).prop_map(Event::Contradicted),
            any_of(Reason::ALL).prop_map(|reason| Event::Owed { reason, since: None }),
            any_of(Reason::ALL).prop_map(|reason| Event::Paid { reason }),
            (any::<i32>(), at()).prop_map(|(number, at)| Event::DrainBegan {
                generation: Generation::new(number),
                at
            }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_every_line_is_read_back_as_it_was(
            events in prop::collection::vec(any_event(), 0..20),
            server in ".{0,40}",
        ) {
            let mut scribe = Scribe::new(after(0));
            let now = Circumstances { server: &server, ..circumstances(None) };
            let entries = scribe.write(&now, &events);
            prop_assert!(entries.len() <= events.len());
            for written in entries {
                let line = serde_json::to_string(&written).unwrap();
                prop_assert!(!line.contains('\n'));
                prop_assert_eq!(entry(line.as_bytes()), Some(written));
            }
        }
    }
}
