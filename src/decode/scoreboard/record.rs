//! One slot in use, as the rest of gracekeeper knows it.

use std::collections::BTreeMap;

use super::{
    Members, request,
    segment::{ProcessScore, WorkerScore},
};
use crate::model::{
    process::Pid,
    scoreboard::{
        Generation, GracefulWorkers, Predecessor, ShowRequests, Slot, SlotRecord,
        WaitingConnections, WorkerStatus,
    },
    time::Timestamp,
};

/// A slot's record, and what its workers say of whose slot it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) record: SlotRecord,
    pub(super) workers: Testimony,
}

/// What the worker array says of a slot, which no stride can misplace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Testimony {
    /// A worker names this very child: event and worker.
    Named,
    /// A worker that names nobody is there: prefork.
    Present,
    /// Nothing for this child: it starts, or it is not its slot.
    Silent,
    /// A worker of this very child says another generation.
    Contradicted,
}

/// Reads slots in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) members: &'a Members,
    /// What is shown of old children's requests.
    pub(super) show: ShowRequests,
    pub(super) running: i32,
}

/// The living workers of one child in one row.
#[derive(Clone, Debug, Default)]
struct Crew<'a> {
    counts: BTreeMap<WorkerStatus, u32>,
    graceful: GracefulWorkers,
    begun: Vec<Timestamp>,
    untimed: Vec<Timestamp>,
    /// The worker that is longest at a request, and since when.
    longest: Option<(i64, &'a [u8])>,
}

/// Where the times of a worker's last request place it.
enum Progress {
    /// A request has begun and not ended.
    Within,
    /// It ended then, and nothing was begun since.
    Ended(i64),
    /// Another status was taken since, or nothing was noted.
    Untold,
}

impl Reader<'_> {
    /// Reads a slot in use with its workers.
    pub(super) fn tell<'a>(
        self,
        slot: u32,
        pid: Pid,
        process: ProcessScore,
        workers: impl Iterator<Item = WorkerScore<'a>>,
    ) -> Told {
        let mut crew = Crew::default();
        let mut predecessors = BTreeMap::<(Pid, i32), Crew<'_>>::new();
        let mut workers_left = Vec::new();
        let mut activity = 0u64;
        let mut testimony = Testimony::Silent;
        for worker in workers {
            activity = worker.times().fold(activity, u64::wrapping_add_signed);
            let status = WorkerStatus::from_raw(worker.status);
            testimony = testimony.and(worker, status, pid, process.generation);
            if !belongs(worker, status, pid, self.members) {
                let older = Pid::new(worker.pid).filter(|pid| self.members.is_alive(*pid));
                if let Some(older) = older.filter(|_| status != WorkerStatus::Dead) {
                    predecessors.entry((older, worker.generation)).or_default().add(worker, status);
                }
            } else if status != WorkerStatus::Dead {
                crew.add(worker, status);
            } else if worker.last_used > 0 {
                workers_left.push(Timestamp::from_micros(worker.last_used));
            }
        }
        workers_left.sort_unstable();
        crew.begun.sort_unstable();
        crew.untimed.sort_unstable();
        let predecessors = predecessors.into_iter().map(|((pid, generation), crew)| Predecessor {
            pid,
            generation: Generation::new(generation),
            graceful: crew.graceful,
            request: self.request(generation, &crew),
            workers: crew.counts.into_iter().collect(),
        });
        let record = SlotRecord {
            slot: Slot::new(slot),
            pid,
            generation: Generation::new(process.generation),
            quiescing: process.quiescing != 0,
            connections: process.connections,
            waiting: process.waiting(),
            graceful: crew.graceful,
            workers_left,
            activity: (activity != 0).then_some(activity),
            request: self.request(process.generation, &crew),
            begun: crew.begun,
            untimed: crew.untimed,
            predecessors: predecessors.collect(),
            workers: crew.counts.into_iter().collect(),
        };
        Told { record, workers: testimony }
    }

    /// Of a child that leaves no longer than it must, nobody asks what it does.
    fn request(self, generation: i32, crew: &Crew<'_>) -> Option<String> {
        let (_, line) = crew.longest.filter(|_| generation < self.running)?;
        request::shown(line, self.show)
    }
}

impl<'a> Crew<'a> {
    fn add(&mut self, worker: WorkerScore<'a>, status: WorkerStatus) {
        let count = self.counts.entry(status).or_default();
        *count = count.saturating_add(1);
        let progress = Progress::of(worker);
        if status == WorkerStatus::Graceful {
            match progress {
                Progress::Within => self.graceful.at_request += 1,
                Progress::Ended(at) => {
                    self.graceful.after_request += 1;
                    let at = Some(Timestamp::from_micros(at));
                    self.graceful.ended = self.graceful.ended.max(at);
                }
                Progress::Untold => {}
            }
        }
        // The line stays when its request is over; a worker that reads has not got the next one.
        let is_there = matches!(status, WorkerStatus::Sending | WorkerStatus::Graceful);
        if !is_there || !matches!(progress, Progress::Within) {
            if status.is_at_request() {
                self.untimed.push(Timestamp::from_micros(worker.last_used));
            }
            return;
        }
        self.begun.push(Timestamp::from_micros(worker.start_time));
        if self.longest.is_none_or(|(since, _)| worker.start_time < since) {
            self.longest = Some((worker.start_time, worker.request));
        }
    }
}

impl Progress {
    /// `scoreboard.c`, `ap_time_process_request`: the end of a request is its worker's last use,
    /// until it becomes ready for another connection.
    const fn of(worker: WorkerScore<'_>) -> Self {
        if worker.start_time > worker.stop_time {
            Self::Within
        } else if worker.stop_time > 0 && worker.last_used == worker.stop_time {
            Self::Ended(worker.stop_time)
        } else {
            Self::Untold
        }
    }
}

impl WorkerScore<'_> {
    /// All 0 without `ExtendedStatus`.
    fn times(&self) -> impl Iterator<Item = i64> + use<> {
        [self.start_time, self.stop_time, self.last_used].into_iter()
    }
}

impl ProcessScore {
    const fn waiting(self) -> WaitingConnections {
        WaitingConnections {
            write_completion: self.write_completion,
            lingering_close: self.lingering_close,
            keep_alive: self.keep_alive,
            suspended: self.suspended,
        }
    }
}

/// Whether a worker is one of the child that has the slot.
///
/// Under worker, and under event until about 2.4.24, a new child takes the slot of one that is
/// leaving: threads of both are in one row then, and those of the older are not the slot's.
fn belongs(worker: WorkerScore<'_>, status: WorkerStatus, pid: Pid, members: &Members) -> bool {
    if worker.pid == 0 || worker.pid == pid.as_raw() {
        return true;
    }
    // The child marks the worker first, its thread then says whose it is.
    let predecessor = Pid::new(worker.pid).is_some_and(|pid| members.is_alive(pid));
    status == WorkerStatus::Starting && !predecessor
}

impl Testimony {
    fn and(self, worker: WorkerScore<'_>, status: WorkerStatus, pid: Pid, generation: i32) -> Self {
        let named = worker.pid == pid.as_raw();
        // The slot has its child's generation from the moment a worker is ready.
        let ready = !matches!(status, WorkerStatus::Dead | WorkerStatus::Starting);
        if named && ready && worker.generation != generation {
            return Self::Contradicted;
        }
        match self {
            Self::Silent | Self::Present if named => Self::Named,
            Self::Silent if worker.pid == 0 && status != WorkerStatus::Dead => Self::Present,
            Self::Silent | Self::Present | Self::Named | Self::Contradicted => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHILD: i32 = 4_009;
    const OLDER: i32 = 3_993;

    fn worker(pid: i32, status: u8) -> WorkerScore<'static> {
        let last_used = 1_792_000_000_000_000;
        WorkerScore {
            pid,
            generation: 1,
            status,
            start_time: 0,
            stop_time: 0,
            last_used,
            request: b"GET /a?b HTTP/1.1",
        }
    }

    fn told(workers: &[WorkerScore<'_>], alive: &[i32]) -> Told {
        let process = ProcessScore {
            pid: CHILD,
            generation: 1,
            quiescing: 2,
            not_accepting: 1,
            padding: 0,
            connections: 3,
            write_completion: 0,
            lingering_close: 1,
            keep_alive: 2,
            suspended: 0,
        };
        let alive = alive.iter().filter_map(|pid| Pid::new(*pid));
        let members = Members::new(alive.map(|pid| (pid, true)));
        let reader = Reader { members: &members, show: ShowRequests::Path, running: 2 };
        reader.tell(7, Pid::new(CHILD).unwrap(), process, workers.iter().copied())
    }

    #[test]
    fn workers_of_the_older_child_of_a_slot_are_not_the_newer_ones() {
        let row = [worker(CHILD, 2), worker(OLDER, 9), worker(CHILD, 4), worker(OLDER, 0)];
        let told = told(&row, &[CHILD, OLDER]);
        assert_eq!(told.record.workers, [(WorkerStatus::Ready, 1), (WorkerStatus::Sending, 1)]);
        assert_eq!(told.record.workers_left, []);
        assert_eq!(told.workers, Testimony::Named);
        assert!(told.record.quiescing);
        let [older] = told.record.predecessors.as_slice() else { panic!("{told:?}") };
        assert_eq!((older.pid.as_raw(), older.generation.number()), (OLDER, 1));
        assert_eq!(older.workers, [(WorkerStatus::Graceful, 1)]);
    }

    /// As seen of 2.4.71's prefork: the parent writes "graceful" over keep-alive, closing and sending.
    #[test]
    fn the_times_of_a_request_tell_what_a_graceful_worker_does() {
        let at = 1_792_000_000_000_000;
        let timed = |status, start_time, stop_time, last_used, request| WorkerScore {
            start_time,
            stop_time,
            last_used,
            request,
            ..worker(CHILD, status)
        };
        let row = [
            timed(9, at + 1, at, at + 1, b"PUT /second?x HTTP/1.1"),
            timed(9, at - 5, 0, at - 5, b"GET /first?x HTTP/1.1"),
            timed(9, at - 9, at, at, b"GET /over HTTP/1.1"),
            timed(9, at - 9, at - 2, at - 1, b"GET /ready HTTP/1.1"),
            timed(9, 0, 0, at, b""),
            timed(3, at - 9, at - 8, at, b"GET /earlier HTTP/1.1"),
        ];
        let told = told(&row, &[CHILD]);
        let ended = Some(Timestamp::from_micros(at));
        let expected = GracefulWorkers { at_request: 2, after_request: 1, ended };
        assert_eq!(told.record.graceful, expected);
        assert_eq!(told.record.request.as_deref(), Some("GET /first"));
        assert_eq!(told.record.begun, [at - 5, at + 1].map(Timestamp::from_micros));
        assert_eq!(told.record.untimed, [Timestamp::from_micros(at)], "who reads the next one");
        let expected = WaitingConnections { lingering_close: 1, keep_alive: 2, ..<_>::default() };
        assert_eq!(told.record.waiting, expected);
    }

    #[test]
    fn a_worker_that_starts_where_a_dead_one_was_is_the_new_childs() {
        let row = [worker(OLDER, 1), worker(0, 1)];
        assert_eq!(told(&row, &[CHILD]).record.workers, [(WorkerStatus::Starting, 2)]);
        assert_eq!(told(&row, &[CHILD, OLDER]).record.workers, [(WorkerStatus::Starting, 1)]);
    }

    #[test]
    fn workers_that_left_say_when() {
        let mut early = worker(CHILD, 0);
        early.last_used = 1_791_000_000_000_000;
        let told = told(&[worker(CHILD, 0), early, worker(CHILD, 9)], &[CHILD]);
        let moments = [1_791_000_000_000_000, 1_792_000_000_000_000].map(Timestamp::from_micros);
        assert_eq!(told.record.workers_left, moments);
        assert_eq!(told.record.workers, [(WorkerStatus::Graceful, 1)]);
    }

    #[test]
    fn a_child_has_one_generation() {
        let mut other = worker(CHILD, 2);
        other.generation = 0;
        assert_eq!(told(&[worker(CHILD, 2), other], &[]).workers, Testimony::Contradicted);
        other.status = 1;
        assert_eq!(told(&[worker(CHILD, 2), other], &[]).workers, Testimony::Named);
    }
}
