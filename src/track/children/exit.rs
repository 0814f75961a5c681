//! How a child ended, and what that says once its circumstances are known.

use std::time::Duration;

use super::Descent;
use crate::model::{event::ExitReason, process::ExitStatus, time::Moment};

/// A child that exits in order may be the first that a stop ended: that is known when the parent
/// has ended, which takes up to 10 s if another child has to be killed (AH00046, AH00047).
pub(super) const STOP_MAY_FOLLOW: Duration = Duration::from_secs(11);

/// A stop that killed a child is over after that, and a hard restart opens its configuration: the
/// parent looks for it once more, a second later (AH00047).
pub(super) const STOP_KILLS_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub(super) at: Moment,
    pub(super) descent: Descent,
    pub(super) old: bool,
    /// Its parent had ended before it.
    pub(super) orphaned: bool,
    pub(super) ended_by_parent: bool,
    pub(super) status: Status,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Status {
    Awaited,
    Known(ExitStatus),
    Lost,
}

impl Exit {
    /// By a signal that a parent has for its children.
    pub(super) const fn was_killed(&self) -> bool {
        matches!(self.status, Status::Known(ExitStatus::Signal(9 | 15)))
    }

    /// It ended as a parent makes its children end.
    pub(super) const fn may_be_sent_away(&self) -> bool {
        self.was_killed() || matches!(self.status, Status::Known(ExitStatus::Code(0)))
    }
}

pub(super) fn reason(exit: &Exit, at: Moment, restart_in_progress: bool) -> Option<ExitReason> {
    match exit.status {
        Status::Awaited => None,
        Status::Lost => Some(ExitReason::Unknown),
        Status::Known(ExitStatus::Signal(11)) => Some(ExitReason::Segv),
        Status::Known(ExitStatus::Signal(6)) => Some(ExitReason::Abort),
        Status::Known(ExitStatus::Signal(9 | 15)) if exit.ended_by_parent => {
            Some(ExitReason::Terminated)
        }
        // The last rung of a hard restart's ladder is SIGKILL, those before are SIGTERM.
        Status::Known(ExitStatus::Signal(9 | 15)) if restart_in_progress => None,
        // Those of a stop too.
        Status::Known(ExitStatus::Signal(9 | 15)) if at.since(exit.at) < STOP_KILLS_WITHIN => None,
        Status::Known(ExitStatus::Signal(9)) => Some(ExitReason::Killed),
        Status::Known(ExitStatus::Signal(_)) => Some(ExitReason::Signal),
        Status::Known(ExitStatus::Code(0)) if exit.ended_by_parent => Some(ExitReason::Terminated),
        Status::Known(ExitStatus::Code(0)) if restart_in_progress => None,
        Status::Known(ExitStatus::Code(0)) if exit.old => Some(ExitReason::Drained),
        Status::Known(ExitStatus::Code(0)) if at.since(exit.at) < STOP_MAY_FOLLOW => None,
        Status::Known(ExitStatus::Code(0)) => Some(ExitReason::Recycled),
        Status::Known(ExitStatus::Code(_)) => Some(ExitReason::Fatal),
    }
}

/// The signal, if it ended a child that nobody wanted to end. Whoever kills an orphan wants that:
/// those of event and worker end in no other way.
pub(super) fn crash(exit: &Exit, reason: ExitReason) -> Option<u8> {
    let Status::Known(ExitStatus::Signal(signal)) = exit.status else { return None };
    let crashed = match reason {
        ExitReason::Segv | ExitReason::Abort => true,
        ExitReason::Killed => !exit.orphaned,
        ExitReason::Signal => ExitStatus::is_crash(signal),
        ExitReason::Drained
        | ExitReason::Recycled
        | ExitReason::Fatal
        | ExitReason::Terminated
        | ExitReason::Unknown => false,
    };
    crashed.then_some(signal)
}
