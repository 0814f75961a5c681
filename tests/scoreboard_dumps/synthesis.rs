//! Scoreboards as httpd would write them, from a description: with a table of sizes of its own.

use std::collections::BTreeMap;

use gracekeeper::{
    decode::scoreboard::{FamilyMember, layout::Layout},
    model::{
        process::Pid,
        scoreboard::{
            Generation, GracefulWorkers, Slot, SlotRecord, WaitingConnections, WorkerStatus,
        },
        time::Timestamp,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};

pub(crate) const RESTART_TIME: i64 = 1_792_000_000_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Synthesis {
    pub(crate) layout: Layout,
    pub(crate) server_limit: u32,
    pub(crate) thread_limit: u32,
    pub(crate) running_generation: i32,
    /// Worker and event write pids into their workers.
    pub(crate) threaded: bool,
    pub(crate) slots: Vec<Process>,
    /// Daemons of the parent's program that have no slot.
    pub(crate) daemons: Vec<i32>,
}

/// A slot that is or was in use.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) slot: u32,
    pub(crate) pid: i32,
    pub(crate) state: State,
    pub(crate) generation: i32,
    pub(crate) quiescing: u8,
    pub(crate) not_accepting: u8,
    /// Connections, four more counts, `suspended` or `bucket`, and `wait_io`: what fits.
    pub(crate) counts: [u32; 7],
    /// Status of each worker.
    pub(crate) workers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Alive,
    Zombie,
    /// Gone from the process table, still in the slot.
    Dead,
    /// Gone from both; the slot keeps the rest.
    Free,
}

/// Global, stride, room, worker.
pub(crate) const fn sizes(layout: Layout) -> [usize; 4] {
    match layout {
        Layout::Until2_4_17 => [24, 32, 32, 248],
        Layout::Since2_4_18 => [24, 36, 40, 248],
        Layout::Since2_4_25 => [24, 36, 40, 264],
        Layout::Since2_4_35 => [56, 36, 40, 336],
        Layout::WithWaitIo => [56, 40, 40, 336],
    }
}

impl Synthesis {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let [global, stride, room, worker] = sizes(self.layout);
        let [slots, threads] = [self.server_limit, self.thread_limit].map(|limit| limit as usize);
        let workers = 8 + global + slots * room;
        let size = workers + slots * threads * worker;
        let mut bytes = vec![0; size.next_multiple_of(4096)];
        put(&mut bytes, 0, &(size as u64).to_le_bytes());
        put(&mut bytes, 8, &self.server_limit.to_le_bytes());
        put(&mut bytes, 12, &self.thread_limit.to_le_bytes());
        put(&mut bytes, 16, &self.running_generation.to_le_bytes());
        put(&mut bytes, 24, &RESTART_TIME.to_le_bytes());
        for process in &self.slots {
            let at = 8 + global + process.slot as usize * stride;
            put(&mut bytes, at, &process.slot_bytes()[..stride]);
            for (thread, (status, last_used)) in process.workers().enumerate() {
                let at = workers + (process.slot as usize * threads + thread) * worker;
                if self.threaded {
                    put(&mut bytes, at + 12, &process.pid.to_le_bytes());
                    put(&mut bytes, at + 16, &process.generation.to_le_bytes());
                }
                bytes[at + 20] = status;
                put(&mut bytes, at + 80, &last_used.to_le_bytes());
            }
        }
        bytes
    }

    pub(crate) fn family(&self) -> Vec<FamilyMember> {
        let in_table = |process: &&Process| matches!(process.state, State::Alive | State::Zombie);
        let workers = self.slots.iter().filter(in_table);
        let workers = workers.map(|process| (process.pid, process.state == State::Alive));
        let daemons = self.daemons.iter().map(|pid| (*pid, true));
        let member = |(pid, alive)| FamilyMember {
            pid: Pid::new(pid).expect("a pid"),
            alive,
            may_be_worker: true,
        };
        workers.chain(daemons).map(member).collect()
    }

    /// What the decoder is to say of the slots, if anything.
    pub(crate) fn records(&self) -> Vec<SlotRecord> {
        let used = self.slots.iter().filter(|process| process.state != State::Free);
        used.map(Process::record).collect()
    }
}

impl Process {
    fn slot_bytes(&self) -> Vec<u8> {
        let pid = if self.state == State::Free { 0 } else { self.pid };
        let mut bytes = [pid.to_le_bytes(), self.generation.to_le_bytes()].concat();
        bytes.extend([self.quiescing, self.not_accepting, 0, 0]);
        bytes.extend(self.counts.iter().flat_map(|count| count.to_le_bytes()));
        bytes
    }

    /// Status and `last_used` of each worker.
    fn workers(&self) -> impl Iterator<Item = (u8, i64)> {
        self.workers.iter().copied().zip(RESTART_TIME..)
    }

    fn record(&self) -> SlotRecord {
        let mut counts = BTreeMap::<_, u32>::new();
        for status in self.workers.iter().filter(|status| **status != 0) {
            *counts.entry(WorkerStatus::from_raw(*status)).or_default() += 1;
        }
        let left = self.workers().filter(|(status, _)| *status == 0);
        let untimed =
            self.workers().filter(|(status, _)| WorkerStatus::from_raw(*status).is_at_request());
        let activity = self.workers().map(|(_, last_used)| last_used.cast_unsigned()).sum();
        SlotRecord {
            slot: Slot::new(self.slot),
            pid: Pid::new(self.pid).expect("a pid"),
            generation: Generation::new(self.generation),
            quiescing: self.quiescing != 0,
            connections: self.counts[0],
            waiting: WaitingConnections {
                write_completion: self.counts[1],
                lingering_close: self.counts[2],
                keep_alive: self.counts[3],
                suspended: self.counts[4],
            },
            graceful: GracefulWorkers::default(),
            begun: Vec::new(),
            untimed: untimed.map(|(_, last_used)| Timestamp::from_micros(last_used)).collect(),
            request: None,
            activity: (!self.workers.is_empty()).then_some(activity),
            predecessors: Vec::new(),
            workers: counts.into_iter().collect(),
            workers_left: left.map(|(_, last_used)| Timestamp::from_micros(last_used)).collect(),
        }
    }
}

/// Any server; `first_pid` is that of its first child: small ones are a container's.
pub(crate) fn servers(first_pid: impl Strategy<Value = i32>) -> impl Strategy<Value = Synthesis> {
    let layout = prop::sample::select(Layout::ALL.as_slice());
    let limits = (1u32..30, 1u32..5, any::<bool>());
    (
        layout,
        limits,
        0i32..40,
        first_pid,
        vec(any::<(bool, Index)>(), 30),
        vec(any::<Index>(), 0..3),
    )
        .prop_flat_map(
            |(layout, (server_limit, threads, threaded), running, first_pid, slots, daemons)| {
                let thread_limit = if threaded { threads } else { 1 };
                let used = slots.into_iter().take(server_limit as usize);
                let used: Vec<u32> =
                    (0..).zip(used).filter(|(_, (used, _))| *used).map(|(slot, _)| slot).collect();
                let processes: Vec<_> = used
                    .into_iter()
                    .map(|slot| process(slot, running, thread_limit as usize, threaded))
                    .collect();
                processes.prop_map(move |mut slots| {
                    // Each generation forks at least once, so the pids are ahead of the generations.
                    let first = first_pid + running + 2;
                    for (pid, process) in (first + 3..).zip(&mut slots) {
                        process.pid = pid;
                    }
                    let daemons = (first..).zip(&daemons).map(|(pid, early)| {
                        // A daemon of the first generations has a pid that may be a later generation.
                        if early.index(2) == 0 { 2 + pid - first } else { pid }
                    });
                    let daemons = daemons.collect();
                    Synthesis {
                        layout,
                        server_limit,
                        thread_limit,
                        running_generation: running,
                        threaded,
                        slots,
                        daemons,
                    }
                })
            },
        )
}

fn process(
    slot: u32,
    running: i32,
    threads: usize,
    threaded: bool,
) -> impl Strategy<Value = Process> {
    let state = prop_oneof![
        6 => Just(State::Alive),
        1 => Just(State::Zombie),
        1 => Just(State::Dead),
        2 => Just(State::Free),
    ];
    let counts =
        if threaded { prop::array::uniform7(0u32..60).boxed() } else { Just([0; 7]).boxed() };
    let flags = if threaded { (0u8..3, 0u8..2).boxed() } else { Just((0, 0)).boxed() };
    (state, 0..=running, flags, counts, vec(0u8..12, threads)).prop_map(
        move |(state, generation, (quiescing, not_accepting), counts, workers)| {
            let gone = state == State::Free;
            let status = |status: u8| {
                if gone {
                    0
                } else if threaded {
                    status
                } else {
                    status.max(1)
                }
            };
            let workers = workers.into_iter().map(status).collect();
            Process { slot, pid: 0, state, generation, quiescing, not_accepting, counts, workers }
        },
    )
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}
