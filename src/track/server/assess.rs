//! What is believed of a server after a look, summed up.

use super::ServerTracker;
use crate::{
    model::{
        event::{Event, StopType},
        process::{ProcessId, ProcessState},
        snapshot::{Part, ServerSnapshot, TraceKind},
    },
    track::{
        assessment::{Age, ByAge, ServerAssessment},
        board::Board,
        children::Descent,
        count::to_u32,
        serving::{has_started, takes_connections},
    },
};

impl ServerTracker {
    /// Sums up.
    pub(super) fn assess(&mut self, snapshot: &ServerSnapshot) {
        self.observe_witnesses(snapshot);
        let table_up = match &snapshot.parent {
            Some(parent) => parent.processes.seen().is_some(),
            None => snapshot.hidden.is_none(),
        };
        let board = self.sum_up_slots(snapshot);
        let condition = self.would_answer(snapshot);
        self.serving.observe(snapshot.at, condition);
        let leaving = snapshot.traces.iter().any(|it| matches!(it.kind, TraceKind::Exited(_)));
        // Those that finish for a restart are no more than those that were busy before its signal.
        if let Some(board) = board.as_ref().filter(|_| !leaving && self.restart_since().is_none()) {
            self.busy = board.busy;
        }
        let restart_since = self.restart_since();
        let known = self.knows_generations(snapshot);
        let stragglers = self.straggle(snapshot);
        let orphans = snapshot.orphans.iter().filter(|child| {
            child.state != ProcessState::Ended && self.children.workers().contains_key(&child.id)
        });
        self.latest = ServerAssessment {
            up: table_up.then_some(self.up.is_some()),
            serving: self.serving.serves().filter(|_| table_up),
            parent: self.up.as_ref().map(|up| (up.id, up.started)),
            // Counted by restarts, a number would not be httpd's own.
            generation: self
                .running
                .filter(|_| known && self.up.is_some() && self.inferred.is_none()),
            restart_since,
            restart_hung: restart_since
                .map(|began| self.restarting_since(began))
                .is_some_and(|since| snapshot.at.since(since) >= self.restart_timeout),
            prompt_since: self.prompts.since(),
            children: known.then(|| self.by_age()),
            generations: known.then(|| to_u32(self.children.generations().len())),
            orphans: known.then(|| to_u32(orphans.count())),
            board,
            drains: known.then(|| self.drains.open().collect()),
            last_drain: self.drains.last().or(self.latest.last_drain),
            stragglers: known.then_some(stragglers),
            headroom: std::mem::take(&mut self.latest.headroom),
            drift: std::mem::take(&mut self.latest.drift),
            sources: self.witnesses.states().clone(),
        };
    }

    /// The slots, with the limit that httpd was told, as far as that is known.
    fn sum_up_slots(&mut self, snapshot: &ServerSnapshot) -> Option<Board> {
        let parent = snapshot.parent.as_ref()?;
        if let (Some(up), Some(loading)) = (&self.up, self.loading()) {
            self.loaded.observe(up.id, loading, snapshot.resources.settings.as_ref());
        }
        let scoreboard = self.scoreboard(snapshot)?;
        let mut board = Board::of(scoreboard, parent.processes.seen()?)?;
        let told = self.loaded.workers_limit(&scoreboard.global);
        board.workers_limit = told.unwrap_or(board.workers_limit);
        Some(board)
    }

    fn observe_witnesses(&mut self, snapshot: &ServerSnapshot) {
        let restarting = self.restart_since().is_some();
        let parent = snapshot.parent.as_ref().filter(|_| self.up.is_some());
        self.changes = self.witnesses.observe(snapshot, parent, restarting);
    }

    /// Generations are known while the scoreboard is read or they are counted, while a restart has taken it away, and
    /// where there is no parent that could have any.
    fn knows_generations(&self, snapshot: &ServerSnapshot) -> bool {
        let restarting = self.restart_since().is_some() && self.running.is_some();
        self.up.is_none()
            || restarting
            || self.inferred.is_some()
            || self.scoreboard(snapshot).is_some()
    }

    fn by_age(&self) -> ByAge {
        let mut children = ByAge::default();
        for descent in self.children.workers().values() {
            let current = self.is_current(*descent);
            children.add(if current { Age::Current } else { Age::Old }, 1);
        }
        children
    }

    /// Takes note of what becomes of the listeners.
    pub(super) fn notice_stop(&mut self, events: &[Event]) {
        for event in events {
            if let Event::Stopped { kind, .. } = event {
                self.left_listening = match kind {
                    StopType::Crash | StopType::Killed | StopType::Unknown => true,
                    StopType::Stop | StopType::GracefulStop | StopType::FailedRestart => false,
                };
            }
        }
    }

    /// A graceful stop closes the listeners first, and then waits for what its children work on.
    fn is_stopping(&self, snapshot: &ServerSnapshot) -> bool {
        let born = |id: &ProcessId| snapshot.at.at_uptime(id.started);
        let workers = || self.children.workers().keys();
        self.stops.stops_since().is_some_and(|since| workers().all(|id| born(id) <= since))
    }

    /// A live, non-quiescing child of the running generation exists; `None` if that is not known.
    /// Children of a parent that was killed go on serving; those of one that stopped, or failed to
    /// restart, have no listener any more and only finish what they have.
    fn would_answer(&self, snapshot: &ServerSnapshot) -> Option<bool> {
        let Some(parent) = snapshot.parent.as_ref().filter(|_| self.up.is_some()) else {
            let running = self.running_descent();
            let serves = |descent: &Descent| self.left_listening && Some(*descent) == running;
            return Some(self.children.workers().values().any(serves));
        };
        if self.is_stopping(snapshot) {
            return Some(false);
        }
        let table = parent.processes.seen()?;
        let Part::Seen(board) = &parent.scoreboard else {
            // It is gone while a hard restart reads its configuration; and what is busy with its
            // last requests while a graceful one does takes no more.
            if self.restart_since().is_some() {
                return self.running.map(|_| false);
            }
            let running = self.running_descent();
            let serves = |(id, descent): (&ProcessId, &Descent)| {
                Some(*descent) == running && has_started(id, snapshot.at)
            };
            return self.inferred.as_ref().map(|_| self.children.workers().iter().any(serves));
        };
        takes_connections(board, table)
    }
}
