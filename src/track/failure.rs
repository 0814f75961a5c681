//! Why a restart failed: how its parent ended, and what httpd said before.
//!
//! Anything that runs in a child may have written a line, so none is believed but of a failure
//! that the process table proves, and that by its reason and its words alone.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    decode::error_log::failure::verdict,
    model::{
        event::FailureReason,
        log::{LogReport, Saying},
        process::{ExitStatus, Pid},
        snapshot::Part,
        source::Why,
        time::Moment,
    },
};

/// More than httpd says of one failure.
const MOST_SAYINGS: usize = 32;
/// A line is stamped when it is read, which may be before the opening of the configuration is
/// stamped: that waits for a look to end.
const STAMPED_WITHIN: Duration = Duration::from_millis(250);
/// A log that is flooded is read on for so long, and an exit status awaited: whoever watches wants
/// the reason within two seconds.
const AWAITED: Duration = Duration::from_secs(1);

/// By which the parent says, under event, worker and prefork, that it took a restart's signal.
const RESTARTS: [&str; 6] = ["AH00493", "AH00494", "AH00297", "AH00298", "AH00171", "AH00173"];

/// A restart that its parent's end cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRestart {
    /// When its signal was taken.
    pub began: Moment,
    /// It was past its limit.
    pub hung: bool,
    /// Somebody was to type a key's pass phrase.
    pub prompting: bool,
}

/// What httpd said lately that may be why it cannot go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    said: VecDeque<Saying>,
}

/// What can be known now of words that are not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// The log was read.
    Read,
    /// It could not be read in time, but will be.
    Late,
    /// Nothing is read, or nothing more will come.
    Deaf,
}

impl Hearing {
    /// What a look at the log says of it.
    #[must_use]
    pub const fn of(log: Option<&Part<LogReport>>) -> Self {
        match log {
            Some(Part::Seen(_)) => Self::Read,
            Some(Part::Unseen(Why::Timeout)) => Self::Late,
            Some(Part::Unseen(_)) | None => Self::Deaf,
        }
    }
}

/// A parent that ended in a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The restart.
    pub restart: FailedRestart,
    /// The last look that saw no restart in progress, if there was one: whatever was said after it
    /// may be of this restart, whose traces may be stamped late.
    pub since: Option<Moment>,
    /// Whose lines count.
    pub parent: Pid,
    /// When it ended.
    pub ended: Moment,
    /// How; `None` where the kernel does not tell.
    pub status: Option<ExitStatus>,
}

impl Words {
    /// Takes what was read.
    pub fn hear(&mut self, report: Option<&LogReport>) {
        let sayings = report.map(|report| report.sayings.as_slice()).unwrap_or_default();
        self.said.extend(sayings.iter().cloned());
        let superfluous = self.said.len().saturating_sub(MOST_SAYINGS);
        self.said.drain(..superfluous);
    }

    /// Forgets what a parent may have said that ended then: the next one may fail at once.
    pub fn forget_until(&mut self, ended: Moment) {
        self.said.retain(|saying| saying.after > ended);
    }

    /// What the parent may have said of its failure: its own lines, and those that bear no number.
    ///
    /// Of these, what came after its own line of taking a restart's signal, if there is one, and of
    /// what is left what its pid proves best.
    fn of(&self, failed: &Failed) -> Vec<&Saying> {
        let Failed { restart, since, parent, ended, .. } = *failed;
        let in_time = |saying: &&Saying| {
            let late = saying.before.after(STAMPED_WITHIN) >= restart.began;
            let after = since.map_or(late, |since| late || saying.before >= since);
            after && saying.after <= ended && saying.pid.is_none_or(|pid| pid == parent)
        };
        let said: Vec<&Saying> = self.said.iter().filter(in_time).collect();
        let marker = said.iter().rposition(|saying| saying.pid.is_some() && is_marker(saying));
        let after = said.iter().skip(marker.map_or(0, |marker| marker + 1));
        let after: Vec<&Saying> = after.copied().filter(|saying| !is_marker(saying)).collect();
        let has_reason = after.iter().any(|saying| saying.reason.is_some());
        let said = said.into_iter().filter(|saying| !is_marker(saying));
        likeliest(if has_reason { after } else { said.collect() })
    }
}

/// A line by which a parent says that it restarts; it only parts what is said after from before.
fn is_marker(saying: &Saying) -> bool {
    saying.reason.is_none() && RESTARTS.iter().any(|code| saying.text.starts_with(code))
}

/// Raw lines may be anybody's: where lines that bear the parent's number give a reason, only raw ones
/// with the same reason count, which often say more (AH00072 before "no listening sockets"); and of
/// raw ones alone with several reasons the last, after which the parent ended.
fn likeliest(mut said: Vec<&Saying>) -> Vec<&Saying> {
    let reason =
        |saying: &Saying| saying.reason.filter(|reason| *reason != FailureReason::Passphrase);
    let own = said.iter().filter(|saying| saying.pid.is_some());
    let own: Vec<FailureReason> = own.filter_map(|saying| reason(saying)).collect();
    if !own.is_empty() {
        said.retain(|saying| {
            saying.pid.is_some() || reason(saying).is_some_and(|reason| own.contains(&reason))
        });
        return said;
    }
    let last = said.iter().rev().find_map(|saying| reason(saying));
    let other = said.iter().rposition(|saying| reason(saying).is_some() && reason(saying) != last);
    said.split_off(other.map_or(0, |other| other + 1))
}

impl Failed {
    /// Why, and httpd's own words if those are why.
    #[must_use]
    pub fn reason(&self, words: &Words) -> (FailureReason, Option<String>) {
        let said = words.of(self);
        let said = said.iter().map(|saying| (saying.reason, saying.text.as_str()));
        let (told, detail) = verdict(said);
        match self.status {
            Some(ExitStatus::Signal(signal)) if ExitStatus::is_crash(signal) => {
                (FailureReason::Crash, detail)
            }
            // Somebody ended it: what it had said before did not.
            Some(ExitStatus::Signal(_)) => (self.reason_without_words(), None),
            // It gave up by itself, of what is told or is lost: not of what it had waited for.
            Some(ExitStatus::Code(_)) => (told, detail),
            None if told != FailureReason::Unknown => (told, detail),
            // As far as can be known: httpd that gives up mostly says why, and whoever ends what
            // hangs or prompts gives it no time to.
            None => (self.reason_without_words(), detail),
        }
    }

    const fn reason_without_words(&self) -> FailureReason {
        match self.restart {
            FailedRestart { hung: true, .. } => FailureReason::Timeout,
            FailedRestart { prompting: true, .. } => FailureReason::Passphrase,
            FailedRestart { .. } => FailureReason::Unknown,
        }
    }

    /// Nothing that is yet to be read will tell more.
    #[must_use]
    pub fn is_decided(&self, words: &Words, hearing: Hearing) -> bool {
        match (self.status, hearing) {
            (Some(ExitStatus::Signal(_)), _) | (_, Hearing::Deaf) => true,
            (_, Hearing::Late) => false,
            // Its words were there before it ended, and the log was read after that.
            (_, Hearing::Read) => words.of(self).iter().any(|saying| saying.reason.is_some()),
        }
    }
}

/// When the failure of a parent that ended then is decided at the latest.
#[must_use]
pub fn decided_at(ended: Moment) -> Moment {
    ended.after(AWAITED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            event::{Event, RestartType, StopType},
            snapshot::TraceKind,
        },
        track::fixture::{Story, after, process},
    };

    const LIMIT: u64 = 60_000;

    /// A restart that was seen to begin at 3 s.
    fn restarting() -> Story {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.trace(3000, TraceKind::ConfigOpened);
        story.look(3001);
        story
    }

    fn ends(story: &mut Story, at: u64, status: Option<ExitStatus>) {
        story.ended(process(1, 0), at, status);
        story.parent = None;
        story.children.clear();
    }

    fn failures(events: &[Event]) -> Vec<(FailureReason, Option<&str>)> {
        let failed = events.iter().filter_map(|event| {
            let Event::RestartFailed { reason, detail, .. } = event else { return None };
            Some((*reason, detail.as_deref()))
        });
        failed.collect()
    }

    #[test]
    fn the_words_and_the_exit_code_tell_why() {
        let mut story = restarting();
        story.says(3002, Some(7), FailureReason::Module, "a child's");
        story.says(1990, None, FailureReason::Module, "of another time");
        story.says(3003, None, FailureReason::Config, "AH00526: Syntax error");
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        let events = story.look(3006);
        let words = Some("AH00526: Syntax error");
        assert_eq!(failures(&events), [(FailureReason::Config, words)]);
        assert_eq!(story.tally.last_successful, Some(false));
        assert_eq!(story.tally.stops[&StopType::FailedRestart], 1);
        assert_eq!(story.tally.restarts.values().sum::<u64>(), 0);
        story.look(5000);
        assert_eq!(story.tally.failures.values().sum::<u64>(), 1, "once");
    }

    #[test]
    fn a_signal_ends_a_restart_whatever_was_said_before() {
        for (at, signal, reason) in [
            (4000, 11, FailureReason::Crash),
            (4000, 9, FailureReason::Unknown),
            (3000 + LIMIT, 9, FailureReason::Timeout),
        ] {
            let mut story = restarting();
            story.says(3002, Some(1), FailureReason::Tls, "AH02312: Fatal error, exiting");
            ends(&mut story, at, Some(ExitStatus::Signal(signal)));
            let events = story.look(at + 1);
            assert_eq!(failures(&events).first().map(|it| it.0), Some(reason), "{signal}");
        }
    }

    #[test]
    fn a_parent_that_gave_up_by_itself_without_words_failed_for_an_unknown_reason() {
        let began = after(3000);
        for (hung, prompting, unseen) in
            [(false, true, FailureReason::Passphrase), (true, false, FailureReason::Timeout)]
        {
            let restart = FailedRestart { began, hung, prompting };
            let (parent, ended) = (process(1, 0).pid, began);
            let failed = |status| Failed { restart, since: None, parent, ended, status };
            let reason = |status| failed(status).reason(&Words::default()).0;
            assert_eq!(reason(Some(ExitStatus::Code(1))), FailureReason::Unknown);
            assert_eq!(reason(Some(ExitStatus::Signal(9))), unseen);
            assert_eq!(reason(None), unseen, "nobody may know its exit status");
        }
    }

    #[test]
    fn words_that_were_read_before_a_late_trace_still_tell_why() {
        let mut story = Story::of_a_running_httpd();
        story.says(2500, None, FailureReason::Config, "AH00526: Syntax error");
        // Stamped by one who was stopped meanwhile, after the next parent's start.
        story.trace(6000, TraceKind::ConfigOpened);
        ends(&mut story, 6001, Some(ExitStatus::Code(1)));
        story.parent = Some(process(2, 5500));
        (story.generation, story.scoreboard, story.pid_file) = (0, Some(5511), 5510);
        let events = story.look(6002);
        assert_eq!(failures(&events), [(FailureReason::Config, Some("AH00526: Syntax error"))]);
        let began = events.iter().find_map(|event| {
            let Event::RestartFailed { began, .. } = event else { return None };
            Some(*began)
        });
        assert_eq!(began, Some(after(5500)));
    }

    #[test]
    fn what_anybody_wrote_before_the_parents_own_line_is_none_of_its_words() {
        for marked in [false, true] {
            let mut story = restarting();
            story.says(3001, None, FailureReason::Config, "AH00526: forged");
            if marked {
                story.says(3002, Some(1), FailureReason::Unknown, "AH00493");
                story.sayings[1].reason = None;
            }
            story.says(3003, None, FailureReason::Config, "AH00526: its own");
            ends(&mut story, 3005, Some(ExitStatus::Code(1)));
            let words = if marked { "AH00526: its own" } else { "AH00526: forged" };
            let told = (FailureReason::Config, Some(words));
            assert_eq!(failures(&story.look(3006)), [told], "{marked}");
        }
    }

    #[test]
    fn of_raw_lines_with_several_reasons_the_last_counts_and_those_with_its_number_before_all() {
        let last = (FailureReason::Module, "the last");
        for (pid, told) in [(None, last), (Some(1), (FailureReason::Tls, "AH02565: its own"))] {
            let mut story = restarting();
            story.says(3002, pid, FailureReason::Tls, "AH02565: its own");
            story.says(3003, None, last.0, last.1);
            ends(&mut story, 3005, Some(ExitStatus::Code(1)));
            assert_eq!(failures(&story.look(3006)), [(told.0, Some(told.1))]);
        }
    }

    #[test]
    fn a_raw_line_that_says_more_of_the_same_is_what_is_told() {
        let mut story = restarting();
        let raw = "(98)Address already in use: AH00072: make_sock: could not bind";
        story.says(3002, None, FailureReason::Bind, raw);
        story.says(3003, None, FailureReason::Config, "AH00526: forged");
        story.says(3003, Some(1), FailureReason::Bind, "no listening sockets available");
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        assert_eq!(failures(&story.look(3006)), [(FailureReason::Bind, Some(raw))]);
    }

    #[test]
    fn a_graceful_restart_that_fails_interrupts_nobody() {
        let mut story = restarting();
        // Its children say that they finish, and go on as orphans.
        story.busy = 4;
        story.look(3002);
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        story.orphans = vec![(11, 20), (12, 20)];
        story.look(3006);
        story.look(4006);
        assert_eq!(story.tally.failures.values().sum::<u64>(), 1);
        story.parent = Some(process(2, 5000));
        (story.generation, story.scoreboard, story.pid_file) = (0, Some(5011), 5010);
        (story.children, story.busy) = (vec![(21, 5020, 0)], 0);
        story.look(5100);
        assert_eq!(story.tally.restarts[&RestartType::Full], 1);
        assert_eq!(story.tally.interrupted_requests, 0);
    }

    #[test]
    fn words_are_awaited_a_second_and_not_at_all_where_nobody_reads_them() {
        let mut story = restarting();
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        assert_eq!(failures(&story.look(3006)), []);
        assert_eq!(story.tracker.assessment().up, Some(false));
        assert_eq!(story.tracker.next_deadline().map(|at| at <= decided_at(at)), Some(true));
        story.says(3004, Some(1), FailureReason::Bind, "AH00072: make_sock");
        let late = story.look(3500);
        assert_eq!(failures(&late), [(FailureReason::Bind, Some("AH00072: make_sock"))]);

        let mut story = restarting();
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        assert_eq!(failures(&story.look(3900)), []);
        assert_eq!(failures(&story.look(4005)), [(FailureReason::Unknown, None)]);

        let mut story = restarting();
        story.log_unseen = Some(Why::Invalid);
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        assert_eq!(failures(&story.look(3006)), [(FailureReason::Unknown, None)]);
    }

    #[test]
    fn a_failure_is_told_before_what_makes_it_good() {
        let mut story = restarting();
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        story.look(3006);
        story.parent = Some(process(2, 3100));
        (story.generation, story.scoreboard, story.pid_file) = (0, Some(3111), 3110);
        story.children = vec![(21, 3120, 0)];
        story.look(3200);
        story.look(5000);
        assert_eq!(story.tally.failures[&FailureReason::Unknown], 1);
        assert_eq!(story.tally.restarts[&RestartType::Full], 1);
        assert_eq!(story.tally.last_successful, Some(true));
    }

    #[test]
    fn a_fatal_child_after_a_restart_is_a_crash_and_no_failed_restart() {
        let mut story = restarting();
        story.says(3050, Some(1), FailureReason::Crash, "AH00050: Child 12 returned a Fatal error");
        story.trace(3010, TraceKind::PidFileWritten);
        ends(&mut story, 3060, Some(ExitStatus::Code(1)));
        let mut events = story.look(3061);
        events.extend(story.look(5000));
        assert_eq!(failures(&events), []);
        assert_eq!(story.tally.stops[&StopType::Crash], 1);
        assert_eq!(story.tally.restarts[&RestartType::Unknown], 1);
    }

    #[test]
    fn a_look_at_a_parent_that_is_about_to_end_forgets_nothing() {
        let mut story = Story::of_a_running_httpd();
        story.trace(3000, TraceKind::ConfigOpened);
        (story.scoreboard, story.table_unseen) = (None, Some(Why::Missing));
        story.look(3001);
        ends(&mut story, 3005, Some(ExitStatus::Code(1)));
        story.says(3003, None, FailureReason::Config, "AH00526: Syntax error");
        assert_eq!(failures(&story.look(3006)).first().map(|it| it.0), Some(FailureReason::Config));
    }

    #[test]
    fn words_without_an_end_are_only_words() {
        let mut story = Story::of_a_running_httpd();
        story.says(3000, Some(1), FailureReason::Tls, "AH02312: Fatal error, exiting");
        story.says(3000, None, FailureReason::Crash, "AH00050: Apache is exiting!");
        let mut events = story.look(3001);
        events.extend(story.look(9000));
        assert!(events.iter().all(|event| matches!(event, Event::LogRead(_))), "{events:?}");
        assert_eq!(story.tracker.assessment().up, Some(true));
    }
}
