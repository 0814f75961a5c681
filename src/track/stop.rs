//! Stops: why a parent went away, from its exit status and its pid file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    event::{Event, FailureReason, StopType},
    process::{ExitStatus, ProcessId},
    snapshot::{Trace, TraceKind},
    time::Moment,
};

/// A graceful stop removes the pid file first and then looks for its children once a second; a
/// stop removes it last (AH00491 follows at once).
const GRACEFUL_STOP_LASTS: Duration = Duration::from_millis(500);

/// A parent that has ended, until its exit status is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ending {
    parent: ProcessId,
    at: Moment,
    pid_file_removed: Option<Moment>,
    /// The configuration was opened after the last look at which no restart was in progress.
    opened: Option<Moment>,
}

/// A restart that its parent's end cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedRestart {
    /// When its signal was taken.
    pub began: Moment,
    /// It was past its limit.
    pub hung: bool,
    /// A key's pass phrase was being asked for.
    pub prompting: bool,
}

/// Follows how parents end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopTracker {
    pid_file_removed: Option<Moment>,
    endings: Vec<Ending>,
}

impl StopTracker {
    /// Folds what happened to the pid file since the last look. One that was removed and then
    /// written by another parent, which this one's graceful stop made room for, stays removed.
    pub fn observe(&mut self, traces: &[Trace], names_parent: bool) {
        for trace in traces {
            match trace.kind {
                TraceKind::PidFileRemoved => self.pid_file_removed = Some(trace.at),
                TraceKind::PidFileWritten if names_parent => self.pid_file_removed = None,
                TraceKind::PidFileWritten
                | TraceKind::ConfigOpened
                | TraceKind::Exited(_)
                | TraceKind::Reaped(_)
                | TraceKind::Lingers(_) => {}
            }
        }
    }

    /// The parent ended: in a `restart` that had begun then, or, if the configuration was `opened`
    /// since the last look, perhaps in one that ended it before anything else of it was seen.
    pub fn ended(
        &mut self,
        parent: ProcessId,
        at: Moment,
        restart: Option<FailedRestart>,
        opened: Option<Moment>,
        events: &mut Vec<Event>,
    ) {
        let pid_file_removed = self.pid_file_removed.take();
        if let Some(restart) = restart.filter(|_| pid_file_removed.is_none()) {
            fail(restart, at, events);
        } else {
            self.endings.push(Ending { parent, at, pid_file_removed, opened });
        }
    }

    /// The parent ended while nobody looked: nothing tells why, and what became of its pid file
    /// is the next one's.
    pub fn ended_unseen(&mut self, at: Moment, events: &mut Vec<Event>) {
        self.pid_file_removed = None;
        events.push(Event::Stopped { at, kind: StopType::Unknown });
    }

    /// The parents of which it is not known yet why they ended.
    pub fn undecided(&self) -> impl Iterator<Item = ProcessId> {
        self.endings.iter().map(|ending| ending.parent)
    }

    /// Says why parents ended whose exit status is known now.
    pub fn explain(&mut self, statuses: &[(ProcessId, Option<ExitStatus>)]) -> Vec<Event> {
        let mut events = Vec::new();
        self.endings.retain(|ending| {
            let known = statuses.iter().find(|(id, _)| *id == ending.parent);
            if let Some((_, status)) = known {
                match (kind(ending, *status), ending.opened) {
                    (StopType::Crash, Some(opened)) if exited(*status) => {
                        let restart =
                            FailedRestart { began: opened, hung: false, prompting: false };
                        fail(restart, ending.at, &mut events);
                    }
                    (kind, _) => events.push(Event::Stopped { at: ending.at, kind }),
                }
            }
            known.is_none()
        });
        events
    }
}

fn fail(restart: FailedRestart, at: Moment, events: &mut Vec<Event>) {
    let reason = if restart.hung { FailureReason::Timeout } else { FailureReason::Unknown };
    events.push(Event::RestartFailed { began: restart.began, reason, detail: None });
    events.push(Event::Stopped { at, kind: StopType::FailedRestart });
}

fn exited(status: Option<ExitStatus>) -> bool {
    matches!(status, Some(ExitStatus::Code(_)))
}

fn kind(ending: &Ending, status: Option<ExitStatus>) -> StopType {
    let removed = ending.pid_file_removed.map(|removed| ending.at.since(removed));
    match (status, removed) {
        (Some(ExitStatus::Signal(9)), _) => StopType::Killed,
        (Some(ExitStatus::Signal(_)), _) => StopType::Crash,
        // A fatal child, AH00050: the parent leaves with it.
        (Some(ExitStatus::Code(code)), _) if code != 0 => StopType::Crash,
        (_, Some(lasted)) if lasted >= GRACEFUL_STOP_LASTS => StopType::GracefulStop,
        (Some(ExitStatus::Code(_)), _) | (None, Some(_)) => StopType::Stop,
        (None, None) => StopType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::fixture::{Story, process};

    /// How a parent ended that left at 5 s: what is said of it.
    fn stopped(status: Option<ExitStatus>, before: &[(u64, TraceKind)]) -> Vec<StopType> {
        let mut story = Story::of_a_running_httpd();
        for (at, kind) in before {
            story.trace(*at, *kind);
        }
        story.ended(process(1, 0), 5000, status);
        story.parent = None;
        story.children.clear();
        let events = story.look(5001);
        assert_eq!(story.tracker.assessment().up, Some(false), "at once");
        let mut stops = Vec::new();
        for event in events {
            if let Event::Stopped { kind, .. } = event {
                stops.push(kind);
            }
        }
        stops
    }

    #[test]
    fn the_exit_status_and_the_pid_file_tell_why() {
        let removed = |at| [(at, TraceKind::PidFileRemoved)];
        let code = |code| Some(ExitStatus::Code(code));
        assert_eq!(stopped(code(0), &removed(4999)), [StopType::Stop]);
        assert_eq!(stopped(code(0), &removed(3000)), [StopType::GracefulStop]);
        assert_eq!(stopped(code(0), &[]), [StopType::Stop]);
        let successor = [(3000, TraceKind::PidFileRemoved), (4000, TraceKind::PidFileWritten)];
        assert_eq!(stopped(code(0), &successor), [StopType::GracefulStop]);
        assert_eq!(stopped(Some(ExitStatus::Signal(9)), &[]), [StopType::Killed]);
        assert_eq!(stopped(Some(ExitStatus::Signal(11)), &[]), [StopType::Crash]);
        assert_eq!(stopped(code(1), &[]), [StopType::Crash]);
        assert_eq!(stopped(None, &[]), [StopType::Unknown]);
        assert_eq!(stopped(None, &removed(4999)), [StopType::Stop]);
    }

    #[test]
    fn a_configuration_that_was_opened_and_an_error_are_a_failed_restart() {
        let opened = [(4990, TraceKind::ConfigOpened)];
        assert_eq!(stopped(Some(ExitStatus::Code(1)), &opened), [StopType::FailedRestart]);
        assert_eq!(stopped(Some(ExitStatus::Code(0)), &opened), [StopType::Stop]);
        assert_eq!(stopped(Some(ExitStatus::Signal(11)), &opened), [StopType::Crash]);
    }

    #[test]
    fn a_restart_that_is_in_progress_fails_with_its_parent() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 1;
        story.look(3000);
        story.ended(process(1, 0), 5000, None);
        story.parent = None;
        let events = story.look(5001);
        let reason = FailureReason::Unknown;
        assert!(events.iter().any(|event| matches!(
            event,
            Event::RestartFailed { reason: why, .. } if *why == reason
        )));
        assert_eq!(story.tally.last_successful, Some(false));
        assert_eq!(story.tally.stops[&StopType::FailedRestart], 1);
        assert_eq!(story.tally.restarts.values().sum::<u64>(), 0);
    }
}
