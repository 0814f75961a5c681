//! httpd's scoreboard as values: what its parent and workers write about themselves.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{process::Pid, time::Timestamp};

/// `ap_generation_t`: counts the restarts of one parent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation(i32);

/// The index of a child in the scoreboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(u32);

/// `worker_score.status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkerStatus {
    /// 0: no thread here.
    Dead,
    /// 1.
    Starting,
    /// 2: waits for a connection.
    Ready,
    /// 3: reads a request.
    Reading,
    /// 4: `W`, handles a request.
    Sending,
    /// 5: waits for the next request of a connection.
    Keepalive,
    /// 6.
    Logging,
    /// 7.
    Dns,
    /// 8.
    Closing,
    /// 9: `G`, finishes its request, then leaves.
    Graceful,
    /// 10.
    IdleCleanup,
    /// A number that no known release writes.
    Unknown(u8),
}

/// `global_score`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Global {
    /// How many slots there are.
    pub server_limit: u32,
    /// How many workers a slot has.
    pub thread_limit: u32,
    /// The generation that the parent starts children of.
    pub running_generation: Generation,
    /// When this scoreboard was made: kept over graceful restarts, new after a hard one.
    pub restart_time: Timestamp,
}

/// `process_score` of a slot in use, with what its workers are doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Which slot.
    pub slot: Slot,
    /// Who has, or had, the slot.
    pub pid: Pid,
    /// The generation that this child belongs to.
    pub generation: Generation,
    /// The child is leaving, by a graceful restart or because there are too many.
    pub quiescing: bool,
    /// Connections of an asynchronous MPM.
    pub connections: u32,
    /// Those of them that no worker is at.
    pub waiting: WaitingConnections,
    /// Workers by status, without the dead, sorted by status.
    pub workers: Vec<(WorkerStatus, u32)>,
    /// What those do whose status is graceful.
    pub graceful: GracefulWorkers,
    /// When each request began that its worker has not ended, oldest first; known with
    /// `ExtendedStatus`.
    pub begun: Vec<Timestamp>,
    /// Of each worker at a request whose beginning is not told, as while it reads it: when it was
    /// ready or ended a request before that, oldest first; 0 without `ExtendedStatus`.
    pub untimed: Vec<Timestamp>,
    /// When each worker that is gone said so, oldest first; known with `ExtendedStatus`.
    pub workers_left: Vec<Timestamp>,
    /// What the worker that is longest at a request is asked for, as far as an operator wants that
    /// shown; known with `ExtendedStatus`.
    pub request: Option<String>,
    /// The times of its workers' last requests, in microseconds, all added up: another number once
    /// any of them has begun or ended one; known with `ExtendedStatus`.
    pub activity: Option<u64>,
    /// Living children that had the slot before and still have workers in it.
    pub predecessors: Vec<Predecessor>,
}

/// Connections of an asynchronous MPM that wait, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingConnections {
    /// Until more of an answer can be written.
    pub write_completion: u32,
    /// Until the client closes.
    pub lingering_close: u32,
    /// For a next request.
    pub keep_alive: u32,
    /// Until a module goes on with them.
    pub suspended: u32,
}

/// Workers whose status is graceful, by the times of their last request: prefork's parent writes
/// that status over any other, a worker of event has it while it waits, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GracefulWorkers {
    /// At a request that has begun and not ended; known with `ExtendedStatus`.
    pub at_request: u32,
    /// Between that and whatever its connection brings next.
    pub after_request: u32,
    /// When the last request of the latter ended.
    pub ended: Option<Timestamp>,
}

/// A child whose slot a newer one has taken: under worker, and under event until about 2.4.24.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// Who.
    pub pid: Pid,
    /// The generation that its workers say.
    pub generation: Generation,
    /// Workers by status, without the dead, sorted by status.
    pub workers: Vec<(WorkerStatus, u32)>,
    /// What those do whose status is graceful.
    pub graceful: GracefulWorkers,
    /// What its longest request is for, as in a slot.
    pub request: Option<String>,
}

/// What an operator wants shown of what a worker is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShowRequests {
    /// Nothing.
    #[default]
    Off,
    /// The method.
    Method,
    /// The method, and the path without its query.
    Path,
}

/// What a scoreboard says, as far as it could be proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scoreboard {
    /// Independent of the release's layout, so usable before the slots are.
    pub global: Global,
    /// The slots in use; `None` while the layout is not proven.
    pub slots: Option<Vec<SlotRecord>>,
}

impl Generation {
    /// A generation by its number.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// How many generations lie between; negative if this one is older.
    #[must_use]
    pub fn distance_from(self, older: Self) -> i64 {
        i64::from(self.0) - i64::from(older.0)
    }

    /// The generation this many restarts later.
    #[must_use]
    pub fn advanced_by(self, restarts: u32) -> Self {
        Self(self.0.saturating_add_unsigned(restarts))
    }
}

impl Slot {
    /// A slot by its index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Its index.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl WorkerStatus {
    /// Reads `worker_score.status`.
    #[must_use]
    pub const fn from_raw(status: u8) -> Self {
        match status {
            0 => Self::Dead,
            1 => Self::Starting,
            2 => Self::Ready,
            3 => Self::Reading,
            4 => Self::Sending,
            5 => Self::Keepalive,
            6 => Self::Logging,
            7 => Self::Dns,
            8 => Self::Closing,
            9 => Self::Graceful,
            10 => Self::IdleCleanup,
            other => Self::Unknown(other),
        }
    }

    /// The worker is at a request by its own word: graceful is its parent's.
    #[must_use]
    pub const fn is_at_request(self) -> bool {
        match self {
            Self::Reading | Self::Sending | Self::Logging | Self::Dns => true,
            Self::Dead
            | Self::Starting
            | Self::Ready
            | Self::Keepalive
            | Self::Closing
            | Self::Graceful
            | Self::IdleCleanup
            | Self::Unknown(_) => false,
        }
    }

    /// The worker has a request, which a hard restart would cut off.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        match self {
            Self::Reading
            | Self::Sending
            | Self::Logging
            | Self::Dns
            | Self::Closing
            | Self::Graceful => true,
            Self::Dead
            | Self::Starting
            | Self::Ready
            | Self::Keepalive
            | Self::IdleCleanup
            | Self::Unknown(_) => false,
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
