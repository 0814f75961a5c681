//! One slot in use, as the rest of gracekeeper knows it.

use std::collections::BTreeMap;

use super::{
    Members,
    segment::{ProcessScore, WorkerScore},
};
use crate::model::{
    process::Pid,
    scoreboard::{Generation, Slot, SlotRecord, WorkerStatus},
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

/// Reads a slot in use with its workers.
pub(super) fn tell(
    slot: u32,
    pid: Pid,
    process: ProcessScore,
    workers: impl Iterator<Item = WorkerScore>,
    members: &Members,
) -> Told {
    let mut counts = BTreeMap::<WorkerStatus, u32>::new();
    let mut workers_left = Vec::new();
    let mut testimony = Testimony::Silent;
    for worker in workers {
        let status = WorkerStatus::from_raw(worker.status);
        testimony = testimony.and(worker, status, pid, process.generation);
        if !belongs(worker, status, pid, members) {
            continue;
        }
        if status != WorkerStatus::Dead {
            let count = counts.entry(status).or_default();
            *count = count.saturating_add(1);
        } else if worker.last_used > 0 {
            workers_left.push(Timestamp::from_micros(worker.last_used));
        }
    }
    workers_left.sort_unstable();
    let record = SlotRecord {
        slot: Slot::new(slot),
        pid,
        generation: Generation::new(process.generation),
        quiescing: process.quiescing != 0,
        connections: process.connections,
        workers: counts.into_iter().collect(),
        workers_left,
    };
    Told { record, workers: testimony }
}

/// Whether a worker is one of the child that has the slot.
///
/// Under worker, and under event until about 2.4.24, a new child takes the slot of one that is
/// leaving: threads of both are in one row then, and those of the older are not the slot's.
fn belongs(worker: WorkerScore, status: WorkerStatus, pid: Pid, members: &Members) -> bool {
    if worker.pid == 0 || worker.pid == pid.as_raw() {
        return true;
    }
    // The child marks the worker first, its thread then says whose it is.
    let predecessor = Pid::new(worker.pid).is_some_and(|pid| members.is_alive(pid));
    status == WorkerStatus::Starting && !predecessor
}

impl Testimony {
    fn and(self, worker: WorkerScore, status: WorkerStatus, pid: Pid, generation: i32) -> Self {
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

    fn worker(pid: i32, status: u8) -> WorkerScore {
        WorkerScore { pid, generation: 1, status, last_used: 1_792_000_000_000_000 }
    }

    fn told(workers: &[WorkerScore], alive: &[i32]) -> Told {
        let process = ProcessScore {
            pid: CHILD,
            generation: 1,
            quiescing: 2,
            not_accepting: 1,
            padding: 0,
            connections: 3,
        };
        let alive = alive.iter().filter_map(|pid| Pid::new(*pid));
        let members = Members::new(alive.map(|pid| (pid, true)));
        tell(7, Pid::new(CHILD).unwrap(), process, workers.iter().copied(), &members)
    }

    #[test]
    fn workers_of_the_older_child_of_a_slot_are_not_the_newer_ones() {
        let row = [worker(CHILD, 2), worker(OLDER, 9), worker(CHILD, 4), worker(OLDER, 0)];
        let told = told(&row, &[CHILD, OLDER]);
        assert_eq!(told.record.workers, [(WorkerStatus::Ready, 1), (WorkerStatus::Sending, 1)]);
        assert_eq!(told.record.workers_left, []);
        assert_eq!(told.workers, Testimony::Named);
        assert!(told.record.quiescing);
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
