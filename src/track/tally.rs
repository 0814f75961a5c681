//! Counters: events folded into what only ever grows.

use std::{collections::BTreeMap, time::Duration};

use super::{histogram::Histogram, memory::LastMemory};
use crate::model::{
    event::{DrainOutcome, Event, ExitReason, FailureReason, RestartType, StopType},
    log::{LogCode, LogLevel},
    time::Timestamp,
};

/// Upper bounds, in seconds, of how long restarts take.
pub const RESTART_BOUNDS: &[f64] = &[0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0];
/// Upper bounds, in seconds, of how long drains take.
pub const DRAIN_BOUNDS: &[f64] = &[1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 14400.0, 86400.0];

/// Everything that was counted of one server since gracekeeper started.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Restarts by type.
    pub restarts: BTreeMap<RestartType, u64>,
    /// Restarts beyond the first in a look.
    pub coalesced: u64,
    /// Stops by type.
    pub stops: BTreeMap<StopType, u64>,
    /// Failed restarts by reason.
    pub failures: BTreeMap<FailureReason, u64>,
    /// From the signal to resuming.
    pub durations: BTreeMap<RestartType, Histogram>,
    /// From the signal to the first child of the new generation.
    pub unserved: BTreeMap<RestartType, Histogram>,
    /// Busy workers that restarts cut off.
    pub interrupted_requests: u64,
    /// Drains by outcome.
    pub drains: BTreeMap<DrainOutcome, Histogram>,
    /// How long single old children took to leave.
    pub child_drains: Histogram,
    /// Children that appeared.
    pub child_starts: u64,
    /// Children that ended, by reason.
    pub child_exits: BTreeMap<ExitReason, u64>,
    /// Time with more than one generation alive.
    pub overlap: Duration,
    /// What cannot be, and was seen.
    pub contradictions: u64,
    /// Lines of the error log by level.
    pub log_lines: BTreeMap<LogLevel, u64>,
    /// Lines of the error log with a code, by code.
    pub log_events: BTreeMap<LogCode, u64>,
    /// Bytes of the error log that were not looked at.
    pub log_skipped: u64,
    /// The last signal of each type.
    pub last_restart: BTreeMap<RestartType, Timestamp>,
    /// `None` before the first restart.
    pub last_successful: Option<bool>,
    /// The last failure of each reason.
    pub last_failure: BTreeMap<FailureReason, Timestamp>,
}

impl Default for Tally {
    fn default() -> Self {
        let restart = || Histogram::new(RESTART_BOUNDS);
        let drain = || Histogram::new(DRAIN_BOUNDS);
        Self {
            restarts: each(RestartType::ALL, || 0),
            coalesced: 0,
            stops: each(StopType::ALL, || 0),
            failures: each(FailureReason::ALL, || 0),
            durations: each(RestartType::ALL, restart),
            unserved: each(RestartType::ALL, restart),
            interrupted_requests: 0,
            drains: each(DrainOutcome::ALL, drain),
            child_drains: drain(),
            child_starts: 0,
            child_exits: each(ExitReason::ALL, || 0),
            overlap: Duration::ZERO,
            contradictions: 0,
            log_lines: each(LogLevel::ALL, || 0),
            log_events: each(LogCode::ALL, || 0),
            log_skipped: 0,
            last_restart: BTreeMap::new(),
            last_successful: None,
            last_failure: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Counters at zero, beside what is remembered of the last restarts.
    #[must_use]
    pub fn restored(last: &LastMemory) -> Self {
        Self {
            last_restart: last.restart.clone(),
            last_successful: last.successful,
            last_failure: last.failure.clone(),
            ..Self::default()
        }
    }

    /// What is to be kept of the last restarts.
    #[must_use]
    pub fn remember(&self) -> LastMemory {
        LastMemory {
            restart: self.last_restart.clone(),
            failure: self.last_failure.clone(),
            successful: self.last_successful,
        }
    }

    /// Counts one event.
    pub fn count(&mut self, event: &Event) {
        match event {
            Event::Restarted { kind, began, took, coalesced, interrupted, .. } => {
                add(&mut self.restarts, *kind);
                self.coalesced += u64::from(*coalesced);
                self.interrupted_requests += u64::from(*interrupted);
                self.last_restart.insert(*kind, began.wall);
                self.last_successful = Some(true);
                if let Some(took) = took {
                    observe(&mut self.durations, kind, *took);
                }
            }
            Event::ServedAgain { kind, unserved } => observe(&mut self.unserved, kind, *unserved),
            Event::RestartFailed { kind, began, reason, .. } => {
                add(&mut self.failures, *reason);
                self.last_successful = Some(false);
                self.last_restart.insert(*kind, began.wall);
                self.last_failure.insert(*reason, began.wall);
            }
            Event::Stopped { kind, .. } => add(&mut self.stops, *kind),
            Event::DrainEnded { lasted, outcome, .. } => {
                observe(&mut self.drains, outcome, *lasted);
            }
            Event::ChildDrained { after } => self.child_drains.observe(*after),
            Event::ChildrenStarted { count } => self.child_starts += u64::from(*count),
            Event::ChildExited { reason } => add(&mut self.child_exits, *reason),
            Event::Overlapped { lasted } => self.overlap = self.overlap.saturating_add(*lasted),
            Event::Contradicted(_) => self.contradictions += 1,
            Event::LogRead(report) => {
                add_all(&mut self.log_lines, &report.lines);
                add_all(&mut self.log_events, &report.events);
                self.log_skipped = self.log_skipped.saturating_add(report.skipped);
            }
            Event::ParentAppeared { .. }
            | Event::Owed { .. }
            | Event::Paid { .. }
            | Event::RestartBegan { .. }
            | Event::RestartHung { .. }
            | Event::PromptBegan { .. }
            | Event::PromptEnded { .. }
            | Event::ChildCrashed { .. }
            | Event::Exhausted { .. }
            | Event::DrainBegan { .. } => {}
        }
    }
}

fn each<K: Copy + Ord, V>(all: &[K], zero: impl Fn() -> V) -> BTreeMap<K, V> {
    all.iter().map(|key| (*key, zero())).collect()
}

fn add<K: Ord>(counters: &mut BTreeMap<K, u64>, key: K) {
    *counters.entry(key).or_default() += 1;
}

fn add_all<K: Copy + Ord>(counters: &mut BTreeMap<K, u64>, counts: &[(K, u64)]) {
    for (key, count) in counts {
        let counter = counters.entry(*key).or_default();
        *counter = counter.saturating_add(*count);
    }
}

fn observe<K: Ord>(histograms: &mut BTreeMap<K, Histogram>, key: &K, value: Duration) {
    if let Some(histogram) = histograms.get_mut(key) {
        histogram.observe(value);
    }
}
