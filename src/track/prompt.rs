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

mod familiar;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::familiar::Familiar;
use crate::model::{
    event::Event,
    hang::{Dialog, PromptOutcome},
    process::{ExitStatus, ProcessId},
    time::Moment,
    waiting::{HelperKind, Waiting},
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
/// What start times are told in.
const TICK: Duration = Duration::from_millis(10);
/// No trace tells that a helper was started.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Who reads for longer than this is looked at once an interval, unless something is suspected.
const LOOK_AGAIN_FOR: Duration = Duration::from_secs(10);
/// No trace tells that a starting httpd goes on.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// An httpd as it is seen in a look.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// A parent that runs normally, or only begins to restart.
    Running(ProcessId, &'a Waiting),
    /// A parent that reads its configuration, and when it last wrote its pid file: who is older
    /// was not started in this reading.
    Reading(ProcessId, &'a Waiting, Option<Moment>),
    /// One that has no pid file yet, nor children.
    Starting(ProcessId, &'a Waiting),
    /// There is a parent, and it could not be read.
    Unseen,
    /// There is none.
    Absent,
}

/// Who waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
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
    familiar: Familiar,
    /// The configuration has no dialog that is asked through a pipe, as far as is known.
    no_pipes: bool,
    /// Since when this one is seen to read.
    reads: Option<(ProcessId, Moment)>,
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

    /// Whether a pass phrase is waited for, of which more than a program's novelty tells.
    #[must_use]
    pub const fn is_certain(&self) -> bool {
        match self.state {
            State::Asking(prompt) => !matches!(prompt.dialog, Dialog::Pipe),
            State::Quiet | State::Suspected { .. } | State::Over { .. } | State::Gone { .. } => {
                false
            }
        }
    }

    /// What was told and is not over.
    #[must_use]
    pub const fn remember(&self) -> Option<Prompt> {
        match self.state {
            State::Asking(prompt) => Some(prompt),
            State::Quiet | State::Suspected { .. } | State::Over { .. } | State::Gone { .. } => {
                None
            }
        }
    }

    /// A tracker that goes on where an earlier run left it.
    #[must_use]
    pub fn restored(told: Option<Prompt>) -> Self {
        Self { state: told.map_or(State::Quiet, State::Asking), ..Self::default() }
    }

    /// Whether the configuration is known to have no dialog that is asked through a pipe.
    pub const fn rule_out_pipes(&mut self, ruled_out: bool) {
        self.no_pipes = ruled_out;
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
        let before = self.state;
        if let State::Asking(prompt) = self.state {
            self.familiar.note_dialog(prompt.helper);
        }
        if let Asker::Running(id, waiting) = asker {
            self.familiar.learn(at, id, waiting);
        }
        if !matches!(asker, Asker::Unseen) {
            self.conclude(at, asker, statuses, &mut events);
            self.suspect(at, asker, &mut events);
            if let Asker::Reading(_, waiting, _) | Asker::Starting(_, waiting) = asker {
                self.familiar.note_turns(waiting);
            }
        }
        self.next = self.deadline(at, asker, before);
        events
    }

    fn deadline(&mut self, at: Moment, asker: Asker<'_>, before: State) -> Option<Moment> {
        match asker {
            Asker::Reading(id, ..) | Asker::Starting(id, _) => {
                let known = self.reads.filter(|(whom, _)| *whom == id);
                self.reads = known.or(Some((id, at)));
            }
            Asker::Running(..) | Asker::Absent => self.reads = None,
            Asker::Unseen => {}
        }
        let is_long = self.reads.is_some_and(|(_, since)| at.since(since) >= LOOK_AGAIN_FOR);
        match (self.state, asker) {
            (State::Asking(prompt), _) if !prompt.starting => None,
            (State::Asking(_), _) => Some(at.after(LOOK_SOON)),
            (State::Quiet, Asker::Running(..) | Asker::Unseen | Asker::Absent) => None,
            (State::Quiet, _) if is_long => None,
            // It runs on: the next look begins anew.
            (State::Suspected { since, .. }, _)
                if is_long && since == at && matches!(before, State::Suspected { .. }) =>
            {
                None
            }
            (
                State::Quiet | State::Suspected { .. } | State::Over { .. } | State::Gone { .. },
                _,
            ) => Some(at.after(LOOK_AGAIN)),
        }
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
                Asker::Reading(id, waiting, _) | Asker::Starting(id, waiting)
                    if id == prompt.asker =>
                {
                    if self.is_open(prompt, waiting) {
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
        if let Some(outcome) = prompt.outcome(at, asker, statuses, (gone, since)) {
            events.push(Event::PromptEnded { began: prompt.began, outcome });
            self.state = State::Quiet;
        } else if !gone && !prompt.is_of(asker) {
            self.state = State::Gone { prompt, since: at };
        }
    }

    fn suspect(&mut self, at: Moment, asker: Asker<'_>, events: &mut Vec<Event>) {
        let candidate = match asker {
            Asker::Reading(id, waiting, resumed) => {
                self.candidate(at, (id, false), waiting, resumed)
            }
            Asker::Starting(id, waiting) => self.candidate(at, (id, true), waiting, None),
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
        (asker, starting): (ProcessId, bool),
        waiting: &Waiting,
        resumed: Option<Moment>,
    ) -> Option<(Prompt, Option<u64>, Duration)> {
        let prompt = |helper, dialog, began| Prompt { asker, helper, dialog, starting, began };
        if waiting.reads_terminal {
            let terminal = prompt(None, Dialog::Builtin, at);
            return Some((terminal, waiting.turns, LONG_PATIENCE));
        }
        let bound = resumed.filter(|resumed| *resumed <= at);
        let is_of_now = |id: ProcessId| {
            let end_of_tick = at.at_uptime(id.started).after(TICK);
            bound.is_none_or(|resumed| end_of_tick >= resumed)
        };
        let new = self.familiar.new_helpers(asker, waiting).filter(|it| is_of_now(it.id));
        let youngest = new.max_by_key(|it| it.id.started)?;
        let (dialog, patience) = match youngest.kind {
            HelperKind::Asker => (Dialog::Exec, PATIENCE),
            HelperKind::Other if !self.no_pipes && self.familiar.knows_somebody() => {
                (Dialog::Pipe, LONG_PATIENCE)
            }
            // While a random source lives, it is what httpd reads from.
            HelperKind::Other | HelperKind::Logger | HelperKind::RandomSource => return None,
        };
        let began = at.at_uptime(youngest.id.started);
        Some((prompt(Some(youngest.id), dialog, began), waiting.turns, patience))
    }

    /// Whether whom it waits for is still there, or has left somebody else to answer: httpd has not
    /// run since.
    fn is_open(&self, prompt: Prompt, waiting: &Waiting) -> bool {
        let Some(helper) = prompt.helper else { return waiting.reads_terminal };
        let mut helpers = waiting.helpers.iter().filter(|it| it.id == helper);
        helpers.any(|it| !it.ended || self.familiar.has_not_run_since(it.id, waiting))
    }
}

impl Prompt {
    fn is_same(self, other: Self) -> bool {
        self.asker == other.asker && self.helper == other.helper
    }

    fn is_of(self, asker: Asker<'_>) -> bool {
        match asker {
            Asker::Running(id, _) | Asker::Reading(id, ..) | Asker::Starting(id, _) => {
                id == self.asker
            }
            Asker::Unseen | Asker::Absent => false,
        }
    }

    /// What became of it, if that is known; of an httpd that is `gone` or not since then.
    fn outcome(
        self,
        at: Moment,
        asker: Asker<'_>,
        statuses: &[(ProcessId, Option<ExitStatus>)],
        (gone, since): (bool, Moment),
    ) -> Option<PromptOutcome> {
        let known = statuses.iter().find(|(id, _)| *id == self.asker);
        let lasted = at.since(since);
        // `-k start` detaches itself by a fork; what was started after its end is another start.
        let succeeds =
            |id: ProcessId| self.starting && (!gone || at.at_uptime(id.started) <= since);
        match (known, asker) {
            (Some((_, Some(ExitStatus::Signal(_)))), _) => Some(PromptOutcome::Killed),
            (Some((_, Some(ExitStatus::Code(_)) | None)), _) => Some(PromptOutcome::Failed),
            (None, Asker::Running(id, _)) if succeeds(id) || id == self.asker => {
                Some(PromptOutcome::Answered)
            }
            // Who is detached reads once more.
            (None, Asker::Reading(id, ..)) if succeeds(id) => Some(PromptOutcome::Answered),
            (None, Asker::Starting(id, _)) if gone && succeeds(id) => None,
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
    use crate::{
        model::waiting::Helper,
        track::fixture::{after, process},
    };

    const PARENT: i32 = 1;

    fn helper(pid: i32, started: u64, kind: HelperKind, command: &str) -> Helper {
        let command = command.as_bytes().to_vec();
        Helper { id: process(pid, started), kind, command, ended: false }
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
        tracker.observe(after(at), Asker::Reading(parent(), waiting, None), &[])
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
        let mut tracker = of_a_parent();
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
    fn a_pipe_dialog_that_outlives_its_answer_is_one_in_the_next_restart_too() {
        let mut tracker = of_a_parent();
        for (pid, asked) in [(7, 1020), (8, 6020)] {
            let seen = waiting(3, &[helper(pid, asked, HelperKind::Other, "/pp\0")]);
            for later in [10, 310] {
                assert_eq!(reading(&mut tracker, asked + later, &seen), []);
            }
            let began = Event::PromptBegan { at: after(asked), dialog: Dialog::Pipe };
            assert_eq!(reading(&mut tracker, asked + 900, &seen), [began]);
            let ended = tracker.observe(after(asked + 950), Asker::Running(parent(), &seen), &[]);
            assert!(matches!(ended[..], [Event::PromptEnded { .. }]), "{ended:?}");
        }
    }

    #[test]
    fn a_terminal_that_is_read_is_a_dialog() {
        let mut tracker = of_a_parent();
        let seen = Waiting { reads_terminal: true, ..waiting(3, &[logger(5, 10)]) };
        assert_eq!(reading(&mut tracker, 1030, &seen), []);
        let began = Event::PromptBegan { at: after(1030), dialog: Dialog::Builtin };
        assert_eq!(reading(&mut tracker, 1700, &seen), [began]);
    }

    #[test]
    fn a_logger_older_than_the_pid_file_is_no_dialog_whenever_gracekeeper_began() {
        let ship = helper(5, 10, HelperKind::Asker, "/opt/ship\0loghost:443\0RSA\0");
        let seen = waiting(3, &[logger(6, 10), ship]);
        for known in [PromptTracker::default(), of_a_parent()] {
            let mut tracker = known;
            for at in [900_000, 900_300, 900_600, 900_900] {
                let asker = Asker::Reading(parent(), &seen, Some(after(100)));
                assert_eq!(tracker.observe(after(at), asker, &[]), []);
            }
        }
    }

    #[test]
    fn a_program_of_unknown_purpose_is_suspected_only_where_others_are_known_and_pipes_are_used() {
        let guessed = |tracker: &mut PromptTracker| {
            let seen = waiting(3, &[helper(7, 1020, HelperKind::Other, "/opt/new\0")]);
            (0..9).flat_map(|turn| reading(tracker, 1030 + turn * 300, &seen)).count()
        };
        assert_eq!(guessed(&mut PromptTracker::default()), 0);
        assert_eq!(guessed(&mut of_a_parent()), 1);
        let mut tracker = of_a_parent();
        tracker.rule_out_pipes(true);
        assert_eq!(guessed(&mut tracker), 0);
    }

    #[test]
    fn a_random_source_that_takes_its_time_is_no_dialog() {
        let mut tracker = of_a_parent();
        let source = helper(7, 1020, HelperKind::RandomSource, "/bin/sh\0/opt/seed\x00512\0");
        let archive = helper(6, 1010, HelperKind::Other, "/opt/new-archive\0");
        for at in 0..20 {
            let seen = waiting(3, &[archive.clone(), source.clone()]);
            assert_eq!(reading(&mut tracker, 1030 + at * 300, &seen), []);
        }
    }

    #[test]
    fn a_logger_that_is_called_like_a_dialog_is_learned_once_it_has_lived_for_long() {
        let ship = |pid, at| helper(pid, at, HelperKind::Asker, "/opt/ship\0loghost:443\0RSA\0");
        let asks = |tracker: &mut PromptTracker, began: u64| {
            let seen = waiting(3, &[ship(7, began)]);
            (1..9).flat_map(|turn| reading(tracker, began + turn * 300, &seen)).count()
        };
        let run = |tracker: &mut PromptTracker, pid, began, at| {
            let seen = waiting(0, &[ship(pid, began)]);
            assert_eq!(tracker.observe(after(at), Asker::Running(parent(), &seen), &[]), []);
        };
        let mut tracker = of_a_parent();
        run(&mut tracker, 5, 1000, 3000);
        assert_eq!(asks(&mut tracker, 4000), 1, "a dialog that takes leave slowly is none");
        let mut tracker = of_a_parent();
        run(&mut tracker, 5, 1000, 13_000);
        assert_eq!(asks(&mut tracker, 14_000), 0);
        run(&mut tracker, 7, 14_000, 17_000);
        assert_eq!(asks(&mut tracker, 18_000), 0, "it is known");
    }

    #[test]
    fn a_dialog_that_left_the_answer_to_its_child_is_waited_for_until_httpd_runs() {
        let (mut tracker, mut seen) = asking();
        for helper in seen.helpers.iter_mut().filter(|it| it.kind == HelperKind::Asker) {
            helper.ended = true;
        }
        for at in [5000, 9000, 60_000] {
            assert_eq!(reading(&mut tracker, at, &seen), []);
            assert_eq!(tracker.since(), Some(after(1020)));
        }
        seen.turns = Some(5);
        assert_eq!(reading(&mut tracker, 61_000, &seen), []);
        assert_eq!(tracker.since(), None);
        assert_eq!(reading(&mut tracker, 63_000, &seen), over(PromptOutcome::Answered));
        for at in 0..9 {
            assert_eq!(reading(&mut tracker, 63_300 + at * 300, &seen), [], "it has run since");
        }
    }

    #[test]
    fn a_start_that_failed_was_not_answered_though_another_soon_serves() {
        for (began, outcome) in [(2990, PromptOutcome::Answered), (3500, PromptOutcome::Failed)] {
            let mut tracker = PromptTracker::default();
            let dialog = helper(7, 1020, HelperKind::Asker, "/pp\0x:443\0RSA\0");
            let seen = waiting(3, &[dialog]);
            for at in [1300, 1600] {
                tracker.observe(after(at), Asker::Starting(process(3, 1000), &seen), &[]);
            }
            assert_eq!(tracker.since(), Some(after(1020)));
            assert_eq!(tracker.observe(after(3000), Asker::Absent, &[]), []);
            let mut events = Vec::new();
            for at in [3600, 4000, 7000] {
                let none = waiting(0, &[]);
                let serves = Asker::Running(process(4, began), &none);
                events.extend(tracker.observe(after(at), serves, &[]));
            }
            assert_eq!(events, over(outcome));
        }
    }

    #[test]
    fn who_reads_for_long_is_looked_at_once_an_interval() {
        let mut tracker = of_a_parent();
        let none = waiting(3, &[]);
        reading(&mut tracker, 1000, &none);
        assert_eq!(tracker.next_deadline(), Some(after(1300)));
        reading(&mut tracker, 11_000, &none);
        assert_eq!(tracker.next_deadline(), None);
        let seen = |turns| waiting(turns, &[helper(7, 11_020, HelperKind::Other, "/opt/new\0")]);
        reading(&mut tracker, 20_000, &seen(4));
        assert_eq!(tracker.next_deadline(), Some(after(20_300)), "something is suspected");
        reading(&mut tracker, 20_300, &seen(5));
        assert_eq!(tracker.next_deadline(), None, "it runs on");
    }

    #[test]
    fn a_prompt_that_was_told_is_not_told_again_by_the_next_run() {
        let (tracker, seen) = asking();
        let mut next = PromptTracker::restored(tracker.remember());
        for at in [3000, 3300, 3600] {
            assert_eq!(reading(&mut next, at, &seen), []);
            assert_eq!(next.since(), Some(after(1020)));
        }
        assert_eq!(
            next.observe(after(5000), Asker::Running(parent(), &seen), &[]),
            over(PromptOutcome::Answered)
        );
    }
}
