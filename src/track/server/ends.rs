//! What ends, and what runs out: the parent, and room for workers.

use std::{collections::BTreeMap, time::Duration};

use super::ServerTracker;
use crate::{
    model::{
        event::{Event, RestartType},
        process::{ExitStatus, ProcessState},
        snapshot::{Part, ServerSnapshot, TraceKind},
        time::Moment,
    },
    track::{drain::Census, exhaustion::Limits, failure::Hearing, stop::Inquest},
};

/// Longer than a configuration takes that is wrong near its beginning; beyond it, a restart is seen.
const OPENED_LATELY: Duration = Duration::from_secs(5);

impl ServerTracker {
    /// Says why parents ended.
    pub(super) fn explain_stops(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        let stops = self.stops.explain(&Inquest {
            at: snapshot.at,
            statuses: &snapshot.statuses,
            words: &self.words,
            hearing: Hearing::of(snapshot.log.as_ref()),
            successor: self.up.as_ref().map(|up| up.started),
        });
        let mut failed = None;
        for stop in stops {
            if let Event::RestartFailed { kind, began, .. } = stop {
                failed = Some((kind, began));
                self.spare_busy(kind);
            }
            if let Event::Stopped { at, .. } = stop {
                self.words.forget_until(at);
                let parent = self.parents - u32::from(self.up.is_some());
                self.children.end_explained(parent, failed.take());
            }
            events.push(stop);
        }
    }

    /// What these restarts made of children that ended.
    pub(super) fn explain_exits(&mut self, restarts: &[Event]) {
        for restart in restarts {
            if let Event::Restarted { kind, began, .. } = restart {
                match kind {
                    RestartType::Hard => self.children.ended_by_parent(*began),
                    RestartType::Graceful => self.children.sent_away(*began),
                    RestartType::Full | RestartType::Unknown => {}
                }
                let told_by_scoreboard = self.inferred.is_none() && *kind != RestartType::Unknown;
                if !told_by_scoreboard && *kind != RestartType::Graceful {
                    self.children.killed_by_parent(*began);
                }
            }
        }
    }

    /// Who was busy when a graceful restart failed finishes as an orphan.
    fn spare_busy(&mut self, failed: RestartType) {
        if failed != RestartType::Graceful {
            return;
        }
        if let Some(unserved) = &mut self.unserved {
            unserved.interrupted = 0;
        }
        if let Some(full) = self.up.as_mut().and_then(|up| up.full.as_mut()) {
            full.interrupted_nobody();
        }
    }

    /// What had drained before the parent ended has drained, the rest is interrupted.
    pub(super) fn end_drains(
        &mut self,
        snapshot: &ServerSnapshot,
        at: Moment,
        events: &mut Vec<Event>,
    ) {
        let mut living = BTreeMap::new();
        let mut departures = Vec::new();
        self.children.learn(&snapshot.statuses);
        for generation in self.children.killed(self.parents, at) {
            *living.entry(generation).or_insert(0) += 1;
        }
        for (id, descent) in self.children.workers() {
            if descent.parent != self.parents {
                continue;
            }
            let exits = snapshot.traces.iter().filter(|it| it.kind == TraceKind::Exited(*id));
            let killed = snapshot.statuses.iter().any(|(known, status)| {
                known == id && matches!(status, Some(ExitStatus::Signal(9 | 15)))
            });
            match exits.map(|trace| trace.at).find(|exit| *exit <= at && !killed) {
                Some(exit) => departures.push((descent.generation, exit)),
                None => *living.entry(descent.generation).or_insert(0) += 1,
            }
        }
        events.extend(self.drains.observe(&Census {
            at,
            living: &living,
            named: &[],
            departures: &departures,
            restarts: &[],
            undecided: false,
        }));
        self.drains.interrupt(at, events);
    }

    /// A parent that ends is for some moments neither to be read nor reported as ended: a look may
    /// come between the opening of its configuration and its end, and see nothing of either.
    pub(super) fn remember_opening(&mut self, snapshot: &ServerSnapshot) {
        let table = snapshot.parent.as_ref().and_then(|parent| parent.processes.seen());
        let normal =
            table.is_some_and(|table| table.catches_crashes && table.state != ProcessState::Ended);
        let opened = stamped_last(snapshot, TraceKind::ConfigOpened, snapshot.at).or(self.opened);
        let written = stamped_last(snapshot, TraceKind::PidFileWritten, snapshot.at);
        self.opened = opened.filter(|opened| {
            let lately = snapshot.at.since(*opened) < OPENED_LATELY;
            self.up.is_some() && !normal && lately && written.is_none_or(|at| at < *opened)
        });
        if self.up.is_some() && self.opened.is_none() && self.restart_since().is_none() {
            self.normal = Some(snapshot.at);
        }
    }

    /// Says which limits were reached.
    pub(super) fn notice_exhaustion(&mut self, snapshot: &ServerSnapshot, events: &mut Vec<Event>) {
        let normal = self.up.is_some() && self.restart_since().is_none();
        events.extend(self.exhaustion.observe(&Limits {
            at: snapshot.at,
            board: self.latest.board.as_ref().filter(|_| normal),
            report: snapshot.log.as_ref().and_then(Part::seen),
        }));
    }
}

/// When this was last stamped until then.
pub(super) fn stamped_last(
    snapshot: &ServerSnapshot,
    kind: TraceKind,
    until: Moment,
) -> Option<Moment> {
    let stamped = snapshot.traces.iter().filter(|trace| trace.kind == kind);
    stamped.map(|trace| trace.at).filter(|at| *at <= until).max()
}
