//! Stops: why a parent went away, from its exit status and its pid file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::{Failed, FailedRestart, Hearing, Words, decided_at};
use crate::model::{
    event::{Event, RestartType, StopType},
    process::{ExitStatus, ProcessId},
    snapshot::{Trace, TraceKind},
    time::Moment,
};

/// A graceful stop removes the pid file first and then looks for its children once a second; a
/// stop removes it last (AH00491 follows at once).
const GRACEFUL_STOP_LASTS: Duration = Duration::from_millis(500);

/// The end of a parent, as the look that saw it tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Whose.
    pub parent: ProcessId,
    /// When.
    pub at: Moment,
    /// A restart was in progress for certain.
    pub restart: Option<FailedRestart>,
    /// The configuration was opened since the parent was last seen running normally: perhaps by a
    /// restart that ended it before anything else of that was seen.
    pub opened: Option<Moment>,
    /// The last look that saw no restart in progress: what is stamped may be stamped late, but
    /// happened after it.
    #[serde(default)]
    pub since: Option<Moment>,
    /// The pid file was written since the look before.
    pub written: Option<Moment>,
    /// The pid file still named the parent after that.
    pub pid_file_left: bool,
    /// A child that can make progress outlived the opening of the configuration.
    #[serde(default)]
    pub survived: bool,
}

/// A parent that has ended, until it is known why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ending {
    end: End,
    pid_file_removed: Option<Moment>,
    /// How it ended, once that is known, or known never to be.
    status: Option<Fate>,
}

/// An exit status that will not become better known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fate(Option<ExitStatus>);

/// What a look can tell of parents that have ended.
#[derive(Clone, Copy, Debug)]
pub struct Inquest<'a> {
    /// When.
    pub at: Moment,
    /// Exit statuses that were learned.
    pub statuses: &'a [(ProcessId, Option<ExitStatus>)],
    /// What httpd said.
    pub words: &'a Words,
    /// Whether it may have said more.
    pub hearing: Hearing,
    /// When the parent was started that is there now: its start is no part of what failed before.
    pub successor: Option<Moment>,
}

/// Follows how parents end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopTracker {
    pid_file_removed: Option<Moment>,
    /// A process of this server ended after that.
    #[serde(default)]
    left_since: bool,
    endings: Vec<Ending>,
}

impl StopTracker {
    /// Folds what happened to the pid file since the last look. One that was removed and then
    /// written by another parent, which this one's graceful stop made room for, stays removed.
    pub fn observe(&mut self, traces: &[Trace], names_parent: bool) {
        let exits = traces.iter().any(|trace| matches!(trace.kind, TraceKind::Exited(_)));
        for trace in traces {
            match trace.kind {
                TraceKind::PidFileRemoved => {
                    self.pid_file_removed = Some(trace.at);
                    // The kernel's reports of one reading have no order among different sorts.
                    self.left_since = exits;
                }
                TraceKind::PidFileWritten if names_parent => self.pid_file_removed = None,
                TraceKind::Exited(_) => self.left_since |= self.pid_file_removed.is_some(),
                TraceKind::PidFileWritten
                | TraceKind::ConfigOpened
                | TraceKind::Reaped(_)
                | TraceKind::Lingers(_) => {}
            }
        }
    }

    /// Since when a parent that lives seems to stop: its pid file is gone, and children leave. It
    /// does, unless it starts new ones: an operator may have removed the file.
    #[must_use]
    pub fn stops_since(&self) -> Option<Moment> {
        self.pid_file_removed.filter(|_| self.left_since)
    }

    /// The parent ended.
    pub fn ended(&mut self, end: End) {
        let pid_file_removed = self.pid_file_removed.take();
        self.endings.push(Ending { end, pid_file_removed, status: None });
    }

    /// The parent ended while nobody looked: nothing tells why, and what became of its pid file
    /// is the next one's.
    pub fn ended_unseen(&mut self, at: Moment, events: &mut Vec<Event>) {
        self.pid_file_removed = None;
        events.push(Event::Stopped { at, kind: StopType::Unknown });
    }

    /// The parents of which it is not known yet why they ended.
    pub fn undecided(&self) -> impl Iterator<Item = ProcessId> {
        self.endings.iter().map(|ending| ending.end.parent)
    }

    /// When it is said at the latest why a restart failed.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let failed = self.endings.iter().filter(|ending| ending.failed().is_some());
        failed.map(|ending| decided_at(ending.end.at)).min()
    }

    /// Says why parents ended, as far as it is known now.
    pub fn explain(&mut self, inquest: &Inquest<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        self.endings.retain_mut(|ending| {
            let known = inquest.statuses.iter().find(|(id, _)| *id == ending.end.parent);
            ending.status = ending.status.or_else(|| known.map(|(_, status)| Fate(*status)));
            let told = ending.explain(inquest);
            events.extend(told.iter().cloned());
            told.is_empty()
        });
        events
    }
}

impl Ending {
    /// The restart that it ended in, if that is known.
    fn failed(&self) -> Option<Failed> {
        let End { parent, at, restart, opened, since, .. } = self.end;
        let status = self.status.and_then(|Fate(status)| status);
        if self.resumed().is_some() {
            return None;
        }
        let seen = restart.filter(|_| self.pid_file_removed.is_none());
        let unseen = opened.filter(|_| has_failed(status)).map(|began| FailedRestart {
            began,
            hung: false,
            prompting: false,
        });
        let restart = seen.or(unseen)?;
        Some(Failed { restart, since, parent: parent.pid, ended: at, status })
    }

    /// When a restart began that it had resumed from, and when it did: it wrote its pid file, which
    /// one whose configuration is wrong does not, and then left by itself.
    fn resumed(&self) -> Option<(Moment, Moment)> {
        let Some(Fate(Some(ExitStatus::Code(_)))) = self.status else { return None };
        let began = self.end.restart.map(|restart| restart.began).or(self.end.opened)?;
        let written = self.end.written.filter(|written| *written >= began)?;
        self.pid_file_removed.is_none().then_some((began, written))
    }

    /// What became of it; nothing while that is not known.
    fn explain(&self, inquest: &Inquest<'_>) -> Vec<Event> {
        let at = self.end.at;
        let Some(failed) = self.failed() else {
            let Some(Fate(status)) = self.status else { return Vec::new() };
            let mut events: Vec<Event> = self.resumed().map(restarted).into_iter().collect();
            events.push(Event::Stopped { at, kind: kind(self, status) });
            return events;
        };
        let decided = self.status.is_some() && failed.is_decided(inquest.words, inquest.hearing);
        if !decided && inquest.successor.is_none() && inquest.at < decided_at(at) {
            return Vec::new();
        }
        let (reason, detail) = failed.reason(inquest.words);
        // A hard restart ends every child before it opens the configuration; a graceful one tells
        // them to finish, which even idle ones do only after.
        let kind = if self.end.survived { RestartType::Graceful } else { RestartType::Unknown };
        let successor = inquest.successor.filter(|started| Some(*started) >= self.end.since);
        let at = successor.map_or(at, |started| started.min(at));
        let began = failed.restart.began.min(at);
        vec![
            Event::RestartFailed { kind, began, reason, detail },
            Event::Stopped { at, kind: StopType::FailedRestart },
        ]
    }
}

/// Nobody looked between the end of this restart and that of its parent.
fn restarted((began, resumed): (Moment, Moment)) -> Event {
    Event::Restarted {
        kind: RestartType::Unknown,
        began,
        took: Some(resumed.since(began)),
        left: None,
        coalesced: false,
        interrupted: 0,
    }
}

/// It gave up by itself.
fn has_failed(status: Option<ExitStatus>) -> bool {
    matches!(status, Some(ExitStatus::Code(code)) if code != 0)
}

fn kind(ending: &Ending, status: Option<ExitStatus>) -> StopType {
    let removed = ending.pid_file_removed.map(|removed| ending.end.at.since(removed));
    match (status, removed) {
        (Some(ExitStatus::Signal(9)), _) => StopType::Killed,
        (Some(ExitStatus::Signal(_)), _) => StopType::Crash,
        // A fatal child, AH00050: the parent leaves with it.
        (Some(ExitStatus::Code(code)), _) if code != 0 => StopType::Crash,
        // AH02324: it leaves with 0, but not as in a stop, which removes the pid file.
        (Some(ExitStatus::Code(_)), None) if ending.end.pid_file_left => StopType::Crash,
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
        let mut events = story.look(5001);
        assert_eq!(story.tracker.assessment().up, Some(false), "at once");
        events.extend(story.look(6000));
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
    fn a_parent_that_leaves_its_pid_file_has_not_stopped() {
        let mut story = Story::of_a_running_httpd();
        story.ended(process(1, 0), 5000, Some(ExitStatus::Code(0)));
        story.parent = None;
        story.pid_file_left = true;
        story.look(5001);
        assert_eq!(story.tally.stops[&StopType::Crash], 1);
    }

    #[test]
    fn a_configuration_that_was_opened_and_an_error_are_a_failed_restart() {
        let opened = [(4990, TraceKind::ConfigOpened)];
        assert_eq!(stopped(Some(ExitStatus::Code(1)), &opened), [StopType::FailedRestart]);
        assert_eq!(stopped(Some(ExitStatus::Code(0)), &opened), [StopType::Stop]);
        assert_eq!(stopped(Some(ExitStatus::Signal(11)), &opened), [StopType::Crash]);
    }
}
