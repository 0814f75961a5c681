//! Stragglers: why each old child is still there, and which of them are stuck.
//!
//! ```text
//!   at a request ◀───▶ keep-alive, closing, idle ──30 s without a request──▶ stuck
//!        └───────── any ──stopped, or deep in the kernel, for 30 s──▶ stuck ──▶ any
//! ```

use std::{collections::BTreeMap, time::Duration};

use crate::model::{
    process::{ProcessId, ProcessState},
    scoreboard::{
        Generation, GracefulWorkers, Predecessor, SlotRecord, WaitingConnections, WorkerStatus,
    },
    straggler::{Straggler, StragglerCause},
    time::Moment,
};

/// Whoever makes no progress for longer is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// An old child in one look.
#[derive(Clone, Debug)]
pub(super) struct OldChild<'a> {
    pub(super) id: ProcessId,
    pub(super) generation: Option<Generation>,
    /// When it became old, as far as restarts tell.
    pub(super) since: Option<Moment>,
    /// `None` if the process table could not be read.
    pub(super) state: Option<ProcessState>,
    /// Its workers; `None` where no scoreboard tells of them.
    pub(super) crew: Option<Crew<'a>>,
}

/// What the scoreboard tells of one child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crew<'a> {
    /// Its connections, of which only the record of a whole slot tells.
    connections: Option<(u32, WaitingConnections)>,
    /// What it was told: prefork tells its children nothing.
    quiescing: bool,
    workers: &'a [(WorkerStatus, u32)],
    graceful: GracefulWorkers,
    request: Option<&'a String>,
}

/// What is kept of an old child from look to look.
#[derive(Clone, Copy, Debug)]
struct Lingering {
    since: Option<Moment>,
    /// Since when no worker is at a request.
    without_request: Option<Moment>,
    /// Since when it is stopped, or deep in the kernel.
    halted: Option<Moment>,
}

/// Follows the old children of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct StragglerTracker {
    known: BTreeMap<ProcessId, Lingering>,
    /// There was a look: who is old and was not then has become so since.
    has_looked: bool,
    next_deadline: Option<Moment>,
}

impl StragglerTracker {
    /// When time alone makes one stuck.
    pub(super) const fn next_deadline(&self) -> Option<Moment> {
        self.next_deadline
    }

    /// Folds one look: every old child that lives, the oldest first. Who has become old since the
    /// last look and does not know when did so in the restart that is in progress, if one is.
    pub(super) fn observe(
        &mut self,
        at: Moment,
        restarting: Option<Moment>,
        old: &[OldChild<'_>],
    ) -> Vec<Straggler> {
        let mut known = BTreeMap::new();
        let mut stragglers = Vec::new();
        self.next_deadline = None;
        for child in old {
            let unseen = || Lingering {
                since: self.has_looked.then(|| restarting.unwrap_or(at)),
                without_request: None,
                halted: None,
            };
            let mut it = self.known.get(&child.id).copied().unwrap_or_else(unseen);
            it.since = child.since.or(it.since);
            let halted = child.state.map(is_halted);
            it.halted = match halted {
                Some(true) => it.halted.or(Some(at)),
                Some(false) => None,
                None => it.halted,
            };
            let doing = child.crew.map_or(StragglerCause::Unknown, |crew| {
                crew.is_doing(it.since, halted == Some(true))
            });
            it.without_request = match doing {
                StragglerCause::Request | StragglerCause::Unknown => None,
                StragglerCause::Keepalive
                | StragglerCause::Closing
                | StragglerCause::Idle
                | StragglerCause::Stuck => it.without_request.or(Some(at)),
            };
            stragglers.push(Straggler {
                id: child.id,
                generation: child.generation,
                since: it.since,
                cause: if it.is_stuck(at) { StragglerCause::Stuck } else { doing },
                request: child.crew.and_then(|crew| crew.request.cloned()),
            });
            self.next_deadline =
                [self.next_deadline, it.next_deadline(at)].into_iter().flatten().min();
            known.insert(child.id, it);
        }
        self.known = known;
        self.has_looked = true;
        stragglers
    }
}

impl Lingering {
    fn deadlines(&self) -> impl Iterator<Item = Moment> {
        let since = self.without_request.into_iter().chain(self.halted);
        since.map(|since| since.after(STUCK_AFTER))
    }

    fn is_stuck(&self, at: Moment) -> bool {
        self.deadlines().any(|deadline| deadline <= at)
    }

    fn next_deadline(&self, at: Moment) -> Option<Moment> {
        if self.is_stuck(at) { None } else { self.deadlines().min() }
    }
}

impl<'a> Crew<'a> {
    pub(super) fn of_slot(slot: &'a SlotRecord) -> Self {
        Self {
            connections: Some((slot.connections, slot.waiting)),
            quiescing: slot.quiescing,
            workers: &slot.workers,
            graceful: slot.graceful,
            request: slot.request.as_ref(),
        }
    }

    pub(super) fn of_predecessor(child: &'a Predecessor) -> Self {
        Self {
            connections: None,
            // prefork never takes a slot before its child is gone.
            quiescing: true,
            workers: &child.workers,
            graceful: child.graceful,
            request: child.request.as_ref(),
        }
    }

    fn has(&self, is_wanted: impl Fn(WorkerStatus) -> bool) -> bool {
        self.workers.iter().any(|(status, count)| *count > 0 && is_wanted(*status))
    }

    /// What it does; `old` is when it became old.
    fn is_doing(&self, old: Option<Moment>, is_halted: bool) -> StragglerCause {
        if self.has(WorkerStatus::is_at_request) {
            return StragglerCause::Request;
        }
        self.by_connections()
            .or_else(|| self.by_graceful_workers(old, is_halted))
            .unwrap_or_else(|| self.by_other_workers())
    }

    /// Only an asynchronous MPM counts connections.
    fn by_connections(&self) -> Option<StragglerCause> {
        let (all, waiting) = self.connections?;
        let WaitingConnections { write_completion, lingering_close, keep_alive, suspended } =
            waiting;
        let counts = [write_completion, lingering_close, keep_alive, suspended];
        let at_no_worker = counts.into_iter().fold(0, u32::saturating_add);
        let at_worker = all > at_no_worker && !self.workers.is_empty();
        Some(if at_worker || write_completion > 0 || suspended > 0 {
            StragglerCause::Request
        } else if keep_alive > 0 {
            StragglerCause::Keepalive
        } else if lingering_close > 0 {
            StragglerCause::Closing
        } else {
            return None;
        })
    }

    /// prefork's parent writes "graceful" over whatever a worker did. A worker of event that waits
    /// for a connection has that status too, once its child quiesces.
    fn by_graceful_workers(&self, old: Option<Moment>, is_halted: bool) -> Option<StragglerCause> {
        if !self.has(|status| status == WorkerStatus::Graceful) {
            return None;
        }
        let GracefulWorkers { at_request, after_request, ended } = self.graceful;
        if at_request > 0 {
            return Some(StragglerCause::Request);
        }
        if self.quiescing {
            return Some(match self.connections {
                Some(_) => StragglerCause::Idle,
                None => StragglerCause::Unknown,
            });
        }
        if after_request == 0 {
            // It reads its first request. One that had none would have left, unless it cannot.
            let reads = StragglerCause::Request;
            return Some(if is_halted { StragglerCause::Unknown } else { reads });
        }
        // Once it is to leave, httpd keeps no connection after a request.
        let ended_later = ended.zip(old).is_some_and(|(ended, old)| ended > old.wall);
        Some(if ended_later { StragglerCause::Closing } else { StragglerCause::Keepalive })
    }

    fn by_other_workers(&self) -> StragglerCause {
        if self.has(|status| status == WorkerStatus::Keepalive) {
            StragglerCause::Keepalive
        } else if self.has(|status| status == WorkerStatus::Closing) {
            StragglerCause::Closing
        } else if self.has(|status| matches!(status, WorkerStatus::Unknown(_))) {
            StragglerCause::Unknown
        } else {
            StragglerCause::Idle
        }
    }
}

const fn is_halted(state: ProcessState) -> bool {
    match state {
        ProcessState::Uninterruptible | ProcessState::Stopped => true,
        ProcessState::Alive | ProcessState::Ended => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::process::ExitStatus,
        track::fixture::{self, Story, after, process},
    };

    const OLD_SINCE: u64 = 10_000;

    fn slot(quiescing: bool, workers: &[(WorkerStatus, u32)]) -> SlotRecord {
        let request = Some("GET /slow".to_owned());
        SlotRecord { quiescing, request, ..fixture::slot(11, 0, workers) }
    }

    fn child(state: ProcessState, crew: Option<Crew<'_>>) -> OldChild<'_> {
        OldChild {
            id: process(11, 20),
            generation: Some(Generation::new(0)),
            since: Some(after(OLD_SINCE)),
            state: Some(state),
            crew,
        }
    }

    fn cause(slot: &SlotRecord, state: ProcessState) -> StragglerCause {
        let mut tracker = StragglerTracker::default();
        let child = child(state, Some(Crew::of_slot(slot)));
        tracker.observe(after(12_000), None, &[child]).first().unwrap().cause
    }

    /// Each as seen of 2.4.71 while a client did that to a child in a graceful restart.
    #[test]
    fn a_worker_s_own_word_tells_why_its_child_stays() {
        use StragglerCause::{Closing, Idle, Keepalive, Request};
        for (status, expected) in [
            (WorkerStatus::Sending, Request),
            (WorkerStatus::Reading, Request),
            (WorkerStatus::Keepalive, Keepalive),
            (WorkerStatus::Closing, Closing),
            (WorkerStatus::Ready, Idle),
            (WorkerStatus::Unknown(11), StragglerCause::Unknown),
        ] {
            let told = cause(&slot(true, &[(status, 1)]), ProcessState::Alive);
            assert_eq!(told, expected, "{status:?}");
        }
        let mixed = [(WorkerStatus::Keepalive, 1), (WorkerStatus::Sending, 1)];
        assert_eq!(cause(&slot(true, &mixed), ProcessState::Alive), Request);
        assert_eq!(cause(&slot(true, &[]), ProcessState::Alive), Idle);
    }

    #[test]
    fn under_event_the_connections_tell_what_graceful_workers_do() {
        let told = |connections, waiting, workers: u32| {
            let slot = SlotRecord {
                connections,
                waiting,
                ..slot(true, &[(WorkerStatus::Graceful, workers)])
            };
            cause(&slot, ProcessState::Alive)
        };
        let none = WaitingConnections::default();
        let keep_alive = WaitingConnections { keep_alive: 1, ..none };
        let lingering = WaitingConnections { lingering_close: 1, ..none };
        assert_eq!(told(2, none, 2), StragglerCause::Request, "at workers");
        assert_eq!(told(1, lingering, 1), StragglerCause::Closing);
        assert_eq!(told(2, lingering, 1), StragglerCause::Request, "the other is at a worker");
        assert_eq!(told(1, keep_alive, 1), StragglerCause::Keepalive);
        let waiting = WaitingConnections { write_completion: 1, ..none };
        assert_eq!(told(1, waiting, 1), StragglerCause::Request, "a slow download");
        let waiting = WaitingConnections { suspended: 1, ..none };
        assert_eq!(told(1, waiting, 1), StragglerCause::Request, "another server is waited for");
        assert_eq!(told(0, none, 1), StragglerCause::Idle, "a worker that waits is graceful too");
    }

    #[test]
    fn under_prefork_the_times_of_the_last_request_do() {
        let told = |graceful, state| {
            let slot = SlotRecord { graceful, ..slot(false, &[(WorkerStatus::Graceful, 1)]) };
            cause(&slot, state)
        };
        let after_request = |ended: u64| {
            let ended = Some(after(ended).wall);
            GracefulWorkers { at_request: 0, after_request: 1, ended }
        };
        let alive = ProcessState::Alive;
        let at_request = GracefulWorkers { at_request: 1, ..GracefulWorkers::default() };
        assert_eq!(told(at_request, alive), StragglerCause::Request);
        assert_eq!(told(after_request(OLD_SINCE - 1), alive), StragglerCause::Keepalive);
        assert_eq!(told(after_request(OLD_SINCE + 1), alive), StragglerCause::Closing);
        let untold = GracefulWorkers::default();
        assert_eq!(told(untold, alive), StragglerCause::Request, "it reads");
        assert_eq!(told(untold, ProcessState::Stopped), StragglerCause::Unknown);
    }

    #[test]
    fn whoever_has_no_request_for_thirty_seconds_is_stuck_until_it_has_one() {
        let (idle, busy) = (slot(true, &[]), slot(true, &[(WorkerStatus::Sending, 1)]));
        let mut tracker = StragglerTracker::default();
        let mut look = |at, slot| {
            let child = child(ProcessState::Alive, Some(Crew::of_slot(slot)));
            let told = tracker.observe(after(at), None, &[child]);
            (told.first().unwrap().cause, tracker.next_deadline())
        };
        assert_eq!(look(11_000, &busy), (StragglerCause::Request, None));
        assert_eq!(look(12_000, &idle), (StragglerCause::Idle, Some(after(42_000))));
        assert_eq!(look(41_999, &idle), (StragglerCause::Idle, Some(after(42_000))));
        assert_eq!(look(42_000, &idle), (StragglerCause::Stuck, None));
        assert_eq!(look(43_000, &busy), (StragglerCause::Request, None));
        assert_eq!(look(44_000, &idle).1, Some(after(74_000)));
        let other = tracker.observe(after(45_000), None, &[]);
        assert_eq!((other.len(), tracker.next_deadline()), (0, None), "it has left");
    }

    #[test]
    fn whoever_is_stopped_for_thirty_seconds_is_stuck_whatever_it_was_doing() {
        let busy = slot(true, &[(WorkerStatus::Sending, 1)]);
        let mut tracker = StragglerTracker::default();
        let mut look = |at, state, crew| {
            tracker.observe(after(at), None, &[child(state, crew)]).first().unwrap().cause
        };
        let crew = Some(Crew::of_slot(&busy));
        assert_eq!(look(11_000, ProcessState::Stopped, crew), StragglerCause::Request);
        assert_eq!(look(40_000, ProcessState::Uninterruptible, None), StragglerCause::Unknown);
        assert_eq!(look(41_000, ProcessState::Stopped, None), StragglerCause::Stuck);
        assert_eq!(look(42_000, ProcessState::Alive, None), StragglerCause::Unknown);
        assert_eq!(look(80_000, ProcessState::Alive, None), StragglerCause::Unknown);
    }

    #[test]
    fn every_old_child_is_a_straggler_since_its_restart_and_so_is_an_orphan() {
        let mut story = Story::of_a_running_httpd();
        story.reads_configuration(2500, 2504);
        story.generation = 1;
        story.children.push((13, 2505, 1));
        story.look(2600);
        let told = story.tracker.assessment();
        let stragglers = told.stragglers.as_ref().unwrap();
        assert_eq!(stragglers.len(), 2);
        assert_eq!(told.children.unwrap().old, 2);
        let drain = *told.drains.as_ref().unwrap().values().next().unwrap();
        for straggler in stragglers {
            assert_eq!(straggler.generation, Some(Generation::new(0)));
            assert_eq!((straggler.cause, straggler.since), (StragglerCause::Idle, Some(drain)));
        }
        assert_eq!(story.tracker.next_deadline(), Some(after(32_600)));
        story.children.retain(|child| child.0 == 13);
        story.look(2700);
        story.children.clear();
        story.orphans = vec![(13, 2505)];
        story.ended(process(1, 0), 3000, Some(ExitStatus::Signal(9)));
        story.parent = None;
        story.look(3001);
        let told = story.tracker.assessment().stragglers.clone().unwrap();
        let [orphan] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((orphan.cause, orphan.since), (StragglerCause::Unknown, Some(after(3001))));
    }
}
