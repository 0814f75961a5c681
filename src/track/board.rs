//! Slots and workers by what they do, from a proven scoreboard and the process table.

use std::collections::BTreeMap;

use super::assessment::{Age, ByAge};
use crate::model::{
    label::closed_set,
    process::ProcessTable,
    scoreboard::{Generation, Scoreboard, WorkerStatus},
};

/// `process_score`s by what they hold; their sum is `ServerLimit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotUse {
    /// A living child of the running generation.
    pub current: u32,
    /// A living child of an older generation.
    pub old: u32,
    /// No child.
    pub free: u32,
    /// A pid that is gone, or a zombie's.
    pub dead: u32,
}

closed_set! {
    /// What a worker does, by the word that metrics give it.
    WorkerState {
        /// Waits for a connection.
        Ready = "ready",
        /// Is being started.
        Starting = "starting",
        /// Reads a request.
        Reading = "reading",
        /// Handles a request.
        Sending = "sending",
        /// Waits for the next request of a connection.
        Keepalive = "keepalive",
        /// Looks up a name.
        Dns = "dns",
        /// Closes a connection.
        Closing = "closing",
        /// Writes the access log.
        Logging = "logging",
        /// Finishes its request, then leaves.
        Graceful = "graceful",
        /// Leaves, because there are too many.
        IdleCleanup = "idle_cleanup",
        /// Does something that no known release has a number for.
        Unknown = "unknown",
    }
}

impl WorkerState {
    /// The word for a status; `None` where there is no worker.
    #[must_use]
    pub const fn of(status: WorkerStatus) -> Option<Self> {
        Some(match status {
            WorkerStatus::Dead => return None,
            WorkerStatus::Starting => Self::Starting,
            WorkerStatus::Ready => Self::Ready,
            WorkerStatus::Reading => Self::Reading,
            WorkerStatus::Sending => Self::Sending,
            WorkerStatus::Keepalive => Self::Keepalive,
            WorkerStatus::Logging => Self::Logging,
            WorkerStatus::Dns => Self::Dns,
            WorkerStatus::Closing => Self::Closing,
            WorkerStatus::Graceful => Self::Graceful,
            WorkerStatus::IdleCleanup => Self::IdleCleanup,
            WorkerStatus::Unknown(_) => Self::Unknown,
        })
    }
}

/// The slots of one generation whose children live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationUse {
    /// Its children.
    pub children: u32,
    /// Its workers by state; what is not in it is 0.
    pub workers: BTreeMap<WorkerState, u32>,
}

/// What only the scoreboard's slots tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    /// Workers by age and state; what is not in it is 0.
    pub workers: BTreeMap<(Age, WorkerState), u32>,
    /// Every generation with a living child.
    pub generations: BTreeMap<Generation, GenerationUse>,
    /// Workers that have a request.
    pub busy: u32,
    /// Connections of an asynchronous MPM.
    pub connections: ByAge,
    /// Slots by use.
    pub slots: SlotUse,
    /// Workers that one generation may have, as httpd was told; where that is not known, those that
    /// all slots together may have.
    pub workers_limit: u64,
}

impl Board {
    /// Sums up the slots; `None` while they are not proven.
    #[must_use]
    pub fn of(scoreboard: &Scoreboard, table: &ProcessTable) -> Option<Self> {
        let global = &scoreboard.global;
        let mut board = Self {
            workers_limit: u64::from(global.server_limit) * u64::from(global.thread_limit),
            ..Self::default()
        };
        for slot in scoreboard.slots.as_ref()? {
            if table.living(slot.pid).is_none() {
                board.slots.dead += 1;
                continue;
            }
            let age = Age::of(slot.generation, global.running_generation);
            let generation = board.generations.entry(slot.generation).or_default();
            generation.children += 1;
            for (status, count) in &slot.workers {
                if let Some(state) = WorkerState::of(*status) {
                    *generation.workers.entry(state).or_default() += count;
                    *board.workers.entry((age, state)).or_default() += count;
                }
                board.busy += if status.is_busy() { *count } else { 0 };
            }
            board.connections.add(age, slot.connections);
            match age {
                Age::Current => board.slots.current += 1,
                Age::Old => board.slots.old += 1,
            }
        }
        let SlotUse { current, old, dead, .. } = board.slots;
        board.slots.free = global.server_limit.saturating_sub(current + old + dead);
        Some(board)
    }
}
