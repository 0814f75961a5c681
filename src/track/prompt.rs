//! Pass phrase prompts: an httpd that reads its configuration waits for a program that it started
//! for this, or for its terminal.
//!
//! ```text
//!          a helper that is new, and no logger        neither has run since, for a while
//!   Quiet ─────────────────────────────────▶ Suspected ─────────────────────▶ Asking
//!     ▲ ▲                                        │                            │   │
//!     │ └──────httpd ran, or the helper left─────┘            the helper left │   │ httpd ended
//!     │                                                                       ▼   ▼
//!     └────────────────what became of it is known: told─────────────────── Over  Gone
//! ```
//!
//! An ordinary restart starts programs too, its piped loggers. They are called as those were that
//! lived while httpd ran normally, which is when they are learned; a logger that is new is not
//! waited for: httpd runs on. Neither needs a privilege.

use std::{collections::BTreeSet, time::Duration};

use crate::model::{
    event::Event,
    hang::{Dialog, PromptOutcome},
    process::{ExitStatus, ProcessId},
    time::Moment,
    waiting::{Helper, HelperKind, Waiting},
};

/// A dialog that answers by itself does so within this time.
const PATIENCE: Duration = Duration::from_millis(300);
/// A program that nothing but its novelty tells from a logger: httpd must have waited for longer
/// than what it does between two restarts takes.
const LONG_PATIENCE: Duration = Duration::from_millis(600);
/// Until nothing more is known of how a prompt ended.
const DECIDED_WITHIN: Duration = Duration::from_secs(4);
/// A dialog has left, and httpd still reads: it was answered, or httpd would have ended.
const READS_ON: Duration = Duration::from_secs(2);
/// No trace tells that a helper was started.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// No trace tells that a starting httpd goes on.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// An httpd as it is seen in a look.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// A parent that runs normally, or only begins to restart.
    Running(ProcessId, &'a Waiting),
    /// A parent that reads its configuration.
    Reading(ProcessId, &'a Waiting),
    /// One that has no pid file yet, nor children.
    Starting(ProcessId, &'a Waiting),
    /// There is a parent, and it could not be read.
    Unseen,
    /// There is none.
    Absent,
}

/// Who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prompt {
    asker: ProcessId,
    /// `None`: a person at the terminal.
    helper: Option<ProcessId>,
    dialog: Dialog,
    starting: bool,
    began: Moment,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nobody waits.
    #[default]
    Quiet,
    /// It may be a prompt.
    Suspected { prompt: Prompt, turns: Option<u64>, since: Moment },
    /// It is one.
    Asking(Prompt),
    /// The dialog has left, httpd still reads.
    Over { prompt: Prompt, since: Moment },
    /// httpd has ended.
    Gone { prompt: Prompt, since: Moment },
}

/// Follows the prompts of one server.
#[derive(Clone, Debug, Default)]
pub struct PromptTracker {
    state: State,
    /// Whose helpers are known.
    familiar: Option<ProcessId>,
    /// The helpers of a parent that runs normally.
    ordinary: BTreeSet<ProcessId>,
    /// How they are called.
    commands: BTreeSet<Vec<u8>>,
    next: Option<Moment>,
}

impl PromptTracker {
    /// Since when a pass phrase is waited for.
    #[must_use]
    pub const fn since(&self) -> Option<Moment> {
        match self.state {
            State::Asking(prompt) => Some(prompt.began),
            State::Quiet | State::Suspected { .. } | State::Over { .. } | State::Gone { .. } => {
                None
            }
        }
    }

    /// When another look could tell more than this one.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Moment> {
        self.next
    }

    /// Folds one look; `statuses` tell how processes ended.
    pub fn observe(
        &mut self,
        at: Moment,
        asker: Asker<'_>,
        statuses: &[(ProcessId, Option<ExitStatus>)],
    ) -> Vec<Event> {
        let mut events = Vec::new();
        if let Asker::Running(id, waiting) = asker {
            self.learn(id, waiting);
        }
        if !matches!(asker, Asker::Unseen) {
            self.conclude(at, asker, statuses, &mut events);
            self.suspect(at, asker, &mut events);
        }
        self.next = match (self.state, asker) {
            (State::Asking(prompt), _) if !prompt.starting => None,
            (State::Asking(_), _) => Some(at.after(LOOK_SOON)),
            (State::Quiet, Asker::Running(..) | Asker::Unseen | Asker::Absent) => None,
            (
                State::Quiet | State::Suspected { .. } | State::Over { .. } | State::Gone { .. },
                _,
            ) => Some(at.after(LOOK_AGAIN)),
        };
        events
    }

    /// What lives while httpd runs normally is no dialog.
    fn learn(&mut self, id: ProcessId, waiting: &Waiting) {
        self.familiar = Some(id);
        self.ordinary = waiting.helpers.iter().map(|helper| helper.id).collect();
        let others = waiting.helpers.iter().filter(|helper| helper.kind != HelperKind::Asker);
        self.commands = others.map(|helper| helper.command.clone()).collect();
    }

    /// What became of a prompt that is over.
    fn conclude(
        &mut self,
        at: Moment,
        asker: Asker<'_>,
        statuses: &[(ProcessId, Option<ExitStatus>)],
        events: &mut Vec<Event>,
    ) {
        if let State::Asking(prompt) = self.state {
            self.state = match asker {
                Asker::Reading(id, waiting) | Asker::Starting(id, waiting)
                    if id == prompt.asker =>
                {
                    if prompt.is_open(waiting) {
                        State::Asking(prompt)
                    } else {
                        State::Over { prompt, since: at }
                    }
                }
                Asker::Running(id, _) if id == prompt.asker => State::Over { prompt, since: at },
                Asker::Running(..)
                | Asker::Reading(..)
                | Asker::Starting(..)
                | Asker::Unseen
                | Asker::Absent => State::Gone { prompt, since: at },
            };
        }
        let (prompt, since, gone) = match self.state {
            State::Over { prompt, since } => (prompt, since, false),
            State::Gone { prompt, since } => (prompt, since, true),
            State::Quiet | State::Suspected { .. } | State::Asking(_) => return,
        };
        if let Some(outcome) = prompt.outcome(asker, statuses, (gone, at.since(since))) {
            events.push(Event::PromptEnded { began: prompt.began, outcome });
            self.state = State::Quiet;
        } else if !gone && !prompt.is_of(asker) {
            self.state = State::Gone { prompt, since: at };
        }
    }

    fn suspect(&mut self, at: Moment, asker: Asker<'_>, events: &mut Vec<Event>) {
        let candidate = match asker {
            Asker::Reading(id, waiting) => self.candidate(at, id, waiting, false),
            Asker::Starting(id, waiting) => self.candidate(at, id, waiting, true),
            Asker::Running(..) | Asker::Unseen | Asker::Absent => None,
        };
        let Some((prompt, turns, patience)) = candidate else {
            if matches!(self.state, State::Suspected { .. }) {
                self.state = State::Quiet;
            }
            return;
        };
        match self.state {
            State::Asking(_) => {}
            State::Suspected { prompt: known, turns: then, since }
                if known.is_same(prompt) && then == turns =>
            {
                if at.since(since) >= patience {
                    let Prompt { began, dialog, .. } = known;
                    events.push(Event::PromptBegan { at: began, dialog });
                    self.state = State::Asking(known);
                }
            }
            State::Over { prompt: last, .. } | State::Gone { prompt: last, .. } => {
                let outcome = PromptOutcome::Answered;
                if last.asker == prompt.asker {
                    events.push(Event::PromptEnded { began: last.began, outcome });
                    self.state = State::Suspected { prompt, turns, since: at };
                }
            }
            State::Quiet | State::Suspected { .. } => {
                self.state = State::Suspected { prompt, turns, since: at };
            }
        }
    }

    /// Whom it may wait for, how often it ran until now, and for how long it must not run.
    fn candidate(
        &self,
        at: Moment,
        asker: ProcessId,
        waiting: &Waiting,
        starting: bool,
    ) -> Option<(Prompt, Option<u64>, Duration)> {
        let is_familiar = self.familiar == Some(asker);
        let is_new = |helper: &&Helper| {
            let known = is_familiar && self.ordinary.contains(&helper.id);
            // The next parent has the same loggers as the last one.
            !known && !self.commands.contains(&helper.command) && helper.kind != HelperKind::Logger
        };
        let youngest = waiting.helpers.iter().filter(is_new).max_by_key(|it| it.id.started);
        let prompt = |helper, dialog, began| Prompt { asker, helper, dialog, starting, began };
        if let Some(helper) = youngest.filter(|_| !waiting.reads_terminal) {
            let (dialog, patience) = match helper.kind {
                HelperKind::Asker => (Dialog::Exec, PATIENCE),
                HelperKind::Other | HelperKind::Logger => (Dialog::Pipe, LONG_PATIENCE),
            };
            let began = at.at_uptime(helper.id.started);
            return Some((prompt(Some(helper.id), dialog, began), waiting.turns, patience));
        }
        let terminal = prompt(None, Dialog::Builtin, at);
        waiting.reads_terminal.then_some((terminal, waiting.turns, LONG_PATIENCE))
    }
}

impl Prompt {
    fn is_same(self, other: Self) -> bool {
        self.asker == other.asker && self.helper == other.helper
    }

    /// Whether whom it waits for is still there.
    fn is_open(self, waiting: &Waiting) -> bool {
        match self.helper {
            Some(helper) => waiting.helpers.iter().any(|it| it.id == helper),
            None => waiting.reads_terminal,
        }
    }

    fn is_of(self, asker: Asker<'_>) -> bool {
        match asker {
            Asker::Running(id, _) | Asker::Reading(id, _) | Asker::Starting(id, _) => {
                id == self.asker
            }
            Asker::Unseen | Asker::Absent => false,
        }
    }

    /// What became of it, if that is known; of an httpd that is `gone` or not for so long.
    fn outcome(
        self,
        asker: Asker<'_>,
        statuses: &[(ProcessId, Option<ExitStatus>)],
        (gone, lasted): (bool, Duration),
    ) -> Option<PromptOutcome> {
        let known = statuses.iter().find(|(id, _)| *id == self.asker);
        match (known, asker) {
            (Some((_, Some(ExitStatus::Signal(_)))), _) => Some(PromptOutcome::Killed),
            (Some((_, Some(ExitStatus::Code(_)) | None)), _) => Some(PromptOutcome::Failed),
            (None, Asker::Running(id, _)) if self.starting || id == self.asker => {
                Some(PromptOutcome::Answered)
            }
            // `-k start` detaches itself, and who is detached reads once more.
            (None, Asker::Reading(..)) if self.starting => Some(PromptOutcome::Answered),
            (None, _) if gone && lasted >= DECIDED_WITHIN => Some(PromptOutcome::Failed),
            (None, _) if !gone && lasted >= READS_ON && self.is_of(asker) => {
                Some(PromptOutcome::Answered)
            }
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::fixture::{after, process};

    const PARENT: i32 = 1;

    fn helper(pid: i32, started: u64, kind: HelperKind, command: &str) -> Helper {
        Helper { id: process(pid, started), kind, command: command.as_bytes().to_vec() }
    }

    fn waiting(turns: u64, helpers: &[Helper]) -> Waiting {
        Waiting { turns: Some(turns), reads_terminal: false, helpers: helpers.to_vec() }
    }

    fn logger(pid: i32, started: u64) -> Helper {
        helper(pid, started, HelperKind::Other, "/opt/archive\0")
    }

    /// A tracker that saw a parent run with its own kind of logger.
    fn of_a_parent() -> PromptTracker {
        let mut tracker = PromptTracker::default();
        let seen = waiting(0, &[logger(5, 10)]);
        assert_eq!(tracker.observe(after(900), Asker::Running(parent(), &seen), &[]), []);
        assert_eq!(tracker.next_deadline(), None);
        tracker
    }

    fn parent() -> ProcessId {
        process(PARENT, 0)
    }

    fn reading(tracker: &mut PromptTracker, at: u64, waiting: &Waiting) -> Vec<Event> {
        tracker.observe(after(at), Asker::Reading(parent(), waiting), &[])
    }

    /// It asks since 1020 ms.
    fn asking() -> (PromptTracker, Waiting) {
        let mut tracker = of_a_parent();
        let dialog = helper(7, 1020, HelperKind::Asker, "/pp\0x:443\0RSA\0");
        let seen = waiting(3, &[logger(6, 1010), dialog]);
        assert_eq!(reading(&mut tracker, 1030, &seen), []);
        assert_eq!(tracker.next_deadline(), Some(after(1330)));
        let began = Event::PromptBegan { at: after(1020), dialog: Dialog::Exec };
        assert_eq!(reading(&mut tracker, 1330, &seen), [began]);
        assert_eq!(tracker.since(), Some(after(1020)));
        assert_eq!(reading(&mut tracker, 2330, &seen), [], "once");
        (tracker, seen)
    }

    fn over(outcome: PromptOutcome) -> [Event; 1] {
        [Event::PromptEnded { began: after(1020), outcome }]
    }

    #[test]
    fn a_prompt_that_is_answered_is_over_at_once() {
        let (mut tracker, _) = asking();
        let seen = waiting(9, &[logger(6, 1010)]);
        assert_eq!(reading(&mut tracker, 5000, &seen), []);
        assert_eq!(tracker.since(), None, "what became of it is known later");
        let events = tracker.observe(after(5300), Asker::Running(parent(), &seen), &[]);
        assert_eq!(events, over(PromptOutcome::Answered));
        assert_eq!(tracker.next_deadline(), None);
    }

    #[test]
    fn each_key_has_a_prompt_of_its_own() {
        let (mut tracker, _) = asking();
        let next = helper(8, 4000, HelperKind::Asker, "/pp\0y:443\0RSA\0");
        let seen = waiting(9, &[logger(6, 1010), next]);
        assert_eq!(reading(&mut tracker, 4010, &seen), over(PromptOutcome::Answered));
        let began = Event::PromptBegan { at: after(4000), dialog: Dialog::Exec };
        assert_eq!(reading(&mut tracker, 4310, &seen), [began]);
    }

    #[test]
    fn a_parent_that_ends_tells_by_its_status_what_became_of_it() {
        for (status, outcome) in [
            (Some(ExitStatus::Signal(9)), PromptOutcome::Killed),
            (Some(ExitStatus::Code(1)), PromptOutcome::Failed),
            (None, PromptOutcome::Failed),
        ] {
            let (mut tracker, _) = asking();
            assert_eq!(tracker.observe(after(5000), Asker::Absent, &[]), []);
            assert_eq!(tracker.since(), None);
            let told = [(parent(), status)];
            assert_eq!(tracker.observe(after(5100), Asker::Absent, &told), over(outcome));
            assert_eq!(tracker.observe(after(5200), Asker::Absent, &told), []);
        }
        let (mut tracker, _) = asking();
        assert_eq!(tracker.observe(after(5000), Asker::Absent, &[]), []);
        let given_up = tracker.observe(after(9000), Asker::Absent, &[]);
        assert_eq!(given_up, over(PromptOutcome::Failed));
    }

    #[test]
    fn a_table_that_cannot_be_read_changes_nothing() {
        let (mut tracker, seen) = asking();
        assert_eq!(tracker.observe(after(3000), Asker::Unseen, &[]), []);
        assert_eq!(tracker.since(), Some(after(1020)));
        assert_eq!(reading(&mut tracker, 3100, &seen), []);
    }

    #[test]
    fn an_httpd_that_goes_on_waits_for_nobody() {
        let mut tracker = of_a_parent();
        let unknown = helper(7, 1020, HelperKind::Other, "/opt/new-archive\0");
        for turn in 0..20 {
            let seen = waiting(turn, std::slice::from_ref(&unknown));
            assert_eq!(reading(&mut tracker, 1030 + turn * 500, &seen), []);
        }
    }

    #[test]
    fn loggers_that_are_known_or_as_known_ones_are_never_dialogs() {
        let mut tracker = of_a_parent();
        let new = [
            logger(5, 10),
            logger(6, 1010),
            helper(7, 1010, HelperKind::Logger, "/usr/bin/rotatelogs\0"),
        ];
        for at in 0..20 {
            assert_eq!(reading(&mut tracker, 1030 + at * 500, &waiting(3, &new)), []);
        }
    }

    #[test]
    fn a_start_that_waits_is_over_when_a_parent_serves() {
        let mut tracker = PromptTracker::default();
        let dialog = helper(7, 1020, HelperKind::Other, "/pp\0");
        let seen = waiting(3, std::slice::from_ref(&dialog));
        let start = process(3, 1000);
        let look = |tracker: &mut PromptTracker, at| {
            tracker.observe(after(at), Asker::Starting(start, &seen), &[])
        };
        assert_eq!(look(&mut tracker, 1300), []);
        assert_eq!(look(&mut tracker, 1600), []);
        let began = Event::PromptBegan { at: after(1020), dialog: Dialog::Pipe };
        assert_eq!(look(&mut tracker, 1900), [began]);
        let none = waiting(4, &[]);
        assert_eq!(tracker.observe(after(3000), Asker::Starting(start, &none), &[]), []);
        assert_eq!(tracker.observe(after(3100), Asker::Absent, &[]), []);
        let serves = Asker::Running(process(4, 3050), &none);
        assert_eq!(tracker.observe(after(3200), serves, &[]), over(PromptOutcome::Answered));
    }

    #[test]
    fn a_terminal_that_is_read_is_a_dialog() {
        let mut tracker = of_a_parent();
        let seen = Waiting { reads_terminal: true, ..waiting(3, &[logger(5, 10)]) };
        assert_eq!(reading(&mut tracker, 1030, &seen), []);
        let began = Event::PromptBegan { at: after(1030), dialog: Dialog::Builtin };
        assert_eq!(reading(&mut tracker, 1700, &seen), [began]);
    }
}
