//! Restarts that do not end, and what they wait for.
//!
//! ```text
//!   Quiet ──a restart is past its limit──▶ Told ──a better cause is known, once──▶ Corrected
//!     ▲                                     │                                          │
//!     └────────the restart is over──────────┴──────────────────────────────────────────┘
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    event::Event,
    hang::HangCause,
    process::{ChildRole, ProcessState, ProcessTable},
    time::Moment,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    /// No restart is past its limit.
    #[default]
    Quiet,
    /// What is wrong was said.
    Told { began: Moment, cause: HangCause },
    /// It was said twice, the second time better.
    Corrected { began: Moment },
}

/// Follows restarts past their limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HangTracker {
    state: State,
}

/// What is seen of a parent while a restart is in progress.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The parent's rows, if they were read.
    pub table: Option<&'a ProcessTable>,
    /// A pass phrase is asked for.
    pub prompts: bool,
    /// The restart's signal was taken then.
    pub began: Moment,
    /// Nothing more of it was seen since then.
    pub since: Moment,
    /// When the look began.
    pub at: Moment,
}

impl HangTracker {
    /// Folds one look at a parent in a restart, or at one in none.
    pub fn observe(
        &mut self,
        restart: Option<&Circumstances<'_>>,
        limit: Duration,
    ) -> Option<Event> {
        let past = restart.filter(|it| it.at.since(it.since) >= limit);
        let Some(circumstances) = past else {
            self.state = State::Quiet;
            return None;
        };
        let (began, cause) = (circumstances.began, circumstances.cause());
        let is_of = |other: Moment| other == began;
        match self.state {
            State::Told { began: known, cause: told } if is_of(known) => {
                if !is_better(cause, told) {
                    return None;
                }
                self.state = State::Corrected { began };
            }
            State::Corrected { began: known } if is_of(known) => return None,
            State::Quiet | State::Told { .. } | State::Corrected { .. } => {
                self.state = State::Told { began, cause };
            }
        }
        Some(Event::RestartHung { began, cause })
    }
}

impl Circumstances<'_> {
    /// The cause, the surest first: what is stopped does nothing else.
    #[must_use]
    pub fn cause(&self) -> HangCause {
        let Some(table) = self.table else {
            return HangCause::Unknown;
        };
        match table.state {
            ProcessState::Stopped | ProcessState::Uninterruptible => HangCause::Stopped,
            ProcessState::Alive if self.prompts => HangCause::Passphrase,
            ProcessState::Alive if !table.catches_crashes => HangCause::Configuration,
            ProcessState::Alive if self.waits_for_children(table) => HangCause::Children,
            ProcessState::Alive | ProcessState::Ended => HangCause::Unknown,
        }
    }

    /// The parent ends its children, one signal after the other, before it reads its configuration.
    fn waits_for_children(&self, table: &ProcessTable) -> bool {
        table.children.values().any(|child| {
            child.role == ChildRole::Httpd
                && child.state != ProcessState::Ended
                && self.at.at_uptime(child.id.started) < self.began
        })
    }
}

/// Whether it says more than what was said.
const fn is_better(cause: HangCause, told: HangCause) -> bool {
    match (told, cause) {
        (HangCause::Unknown, HangCause::Unknown) => false,
        (HangCause::Unknown, _)
        | (HangCause::Configuration, HangCause::Passphrase | HangCause::Stopped) => true,
        (
            HangCause::Configuration
            | HangCause::Passphrase
            | HangCause::Children
            | HangCause::Stopped,
            _,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::{
        fixture::{Story, after},
        server::ServerTracker,
    };

    /// What is said of a restart that began at 3 s, by a limit of 60 s.
    fn hung(events: &[Event]) -> Vec<HangCause> {
        let mut causes = Vec::new();
        for event in events {
            if let Event::RestartHung { began, cause } = event {
                assert_eq!(*began, after(3000));
                causes.push(*cause);
            }
        }
        causes
    }

    #[test]
    fn children_that_stay_hold_up_a_hard_restart_before_it_reads_its_configuration() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        assert_eq!(hung(&story.look(3000)), []);
        assert!(!story.tracker.assessment().restart_hung);
        assert_eq!(hung(&story.look(63_000)), [HangCause::Children]);
        assert!(story.tracker.assessment().restart_hung);
        assert_eq!(hung(&story.look(64_000)), []);
        story.catches_crashes = false;
        assert_eq!(hung(&story.look(65_000)), [], "what was said was true");
    }

    #[test]
    fn a_parent_that_reads_for_long_hangs_in_its_configuration() {
        let mut story = Story::of_a_running_httpd();
        story.catches_crashes = false;
        story.generation = 1;
        assert_eq!(hung(&story.look(3000)), []);
        assert_eq!(hung(&story.look(63_000)), [HangCause::Configuration]);
        assert_eq!(hung(&story.look(64_000)), []);
    }

    #[test]
    fn restarts_in_a_row_are_no_hang() {
        let mut story = Story::of_a_running_httpd();
        story.catches_crashes = false;
        for at in (3000..200_000).step_by(20_000) {
            story.generation += 1;
            story.reads_configuration(at, at + 5);
            assert_eq!(hung(&story.look(at + 10)), []);
            assert!(story.tracker.assessment().restart_since.is_some(), "of the next one");
        }
        assert!(!story.tracker.assessment().restart_hung);
    }

    #[test]
    fn a_hang_is_told_once_though_gracekeeper_was_killed_in_between() {
        let mut story = Story::of_a_running_httpd();
        story.catches_crashes = false;
        story.generation = 1;
        story.look(3000);
        assert_eq!(hung(&story.look(63_000)), [HangCause::Configuration]);
        let memory = story.tracker.remember(after(63_000), &story.tally);
        story.tracker = ServerTracker::restored(Duration::from_secs(60), &memory, after(64_000));
        assert_eq!(hung(&story.look(65_000)), []);
        assert_eq!(hung(&story.look(66_000)), []);
    }
}
