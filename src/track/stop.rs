//! Stops: why a parent went away, from its exit status and its pid file.

use std::time::Duration;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ending {
    parent: ProcessId,
    at: Moment,
    pid_file_removed: Option<Moment>,
}

/// Follows how parents end.
#[derive(Clone, Debug, Default)]
pub struct StopTracker {
    pid_file_removed: Option<Moment>,
    endings: Vec<Ending>,
}

impl StopTracker {
    /// Folds what happened to the pid file since the last look.
    pub fn observe(&mut self, traces: &[Trace]) {
        for trace in traces {
            match trace.kind {
                TraceKind::PidFileRemoved => self.pid_file_removed = Some(trace.at),
                TraceKind::PidFileWritten => self.pid_file_removed = None,
                TraceKind::ConfigOpened | TraceKind::Exited(_) => {}
            }
        }
    }

    /// The parent ended; a restart was in progress since `restart`.
    pub fn ended(
        &mut self,
        parent: ProcessId,
        at: Moment,
        restart: Option<Moment>,
        events: &mut Vec<Event>,
    ) {
        let pid_file_removed = self.pid_file_removed.take();
        if let Some(began) = restart {
            events.push(Event::RestartFailed { began, reason: FailureReason::Unknown });
            events.push(Event::Stopped { at, kind: StopType::FailedRestart });
        } else {
            self.endings.push(Ending { parent, at, pid_file_removed });
        }
    }

    /// Says why parents ended whose exit status is known now.
    pub fn explain(&mut self, statuses: &[(ProcessId, Option<ExitStatus>)]) -> Vec<Event> {
        let mut events = Vec::new();
        self.endings.retain(|ending| {
            let known = statuses.iter().find(|(id, _)| *id == ending.parent);
            if let Some((_, status)) = known {
                events.push(Event::Stopped { at: ending.at, kind: kind(ending, *status) });
            }
            known.is_none()
        });
        events
    }
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
