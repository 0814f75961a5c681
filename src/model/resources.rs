//! What one look saw of memory, descriptors, limits and sockets: numbers of the kernel's, before
//! anything is made of them.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    headroom::Pressure, process::ProcessId, settings::ServerSettings, snapshot::Part, time::Moment,
};

/// What a look saw of resources; `None` is what was not wanted, or does not apply, as without a
/// parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// The memory of the server's processes.
    pub memory: Option<Part<MemorySample>>,
    /// Their file descriptors.
    pub descriptors: Option<Part<DescriptorSample>>,
    /// What the whole host has.
    pub host: Option<Part<HostSample>>,
    /// What the parent's cgroups allow.
    pub cgroup: Option<Part<CgroupSample>>,
    /// System V objects and shared memory.
    pub ipc: Option<Part<IpcSample>>,
    /// The targets of the parent's descriptors: which sockets are its own.
    pub links: Option<Part<()>>,
    /// The parent's listening sockets.
    pub sockets: Option<Part<Vec<ListeningSocket>>>,
    /// What the configuration on disk says of children, listeners and logs; `None` where that is
    /// not known.
    pub settings: Option<ServerSettings>,
}

/// The memory of one process, in bytes: `smaps_rollup`, or an estimate of one that is too large for
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollup {
    /// Its proportional share of everything that it maps.
    pub pss: u64,
    /// What nobody else maps.
    pub private: u64,
    /// Its proportional share of what is in swap.
    pub swap: u64,
    /// Memory without a file, its own or shared with those that were forked: what the process
    /// wrote.
    pub anonymous: u64,
}

/// The memory of a server's processes. Of many children only some are read in each look, so figures
/// have an age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemorySample {
    /// The parent was forked when it detached itself, and what any forked process comes to own, as
    /// by a library's handler of forks, it owns too.
    pub parent_is_detached: bool,
    /// What was read last of each living process, and when.
    pub processes: BTreeMap<ProcessId, (Rollup, Moment)>,
}

/// The file descriptors of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorUse {
    /// How many it has open.
    pub open: u64,
    /// Its soft limit; `None`: unlimited, or not known.
    pub soft_limit: Option<u64>,
}

/// The file descriptors of a server's processes, as far as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescriptorSample {
    /// By process.
    pub processes: BTreeMap<ProcessId, DescriptorUse>,
}

/// What the whole host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSample {
    /// `MemAvailable`, in bytes.
    pub memory_available: Option<u64>,
    /// Processes and threads that may still be made before the kernel's own limits.
    pub pids_available: Option<u64>,
    /// Time in which some process waited, in microseconds since boot, where the parent has no
    /// cgroup that tells.
    pub pressure: BTreeMap<Pressure, u64>,
    /// The hottest sensor, in thousandths of a degree Celsius.
    pub temperature: Option<i64>,
    /// What gracekeeper's network namespace dropped at any listener, read right after the listening
    /// sockets; `None` where that cannot be read.
    pub netns: Option<NetnsDrops>,
}

/// What the parent's cgroups allow: of nested ones the tightest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupSample {
    /// Which cgroups they are, of memory and of version 2: with other numbers its totals are other
    /// cgroups'.
    pub identity: [u64; 2],
    /// Bytes that may still be used, with what the kernel can reclaim; `None`: no limit.
    pub memory_headroom: Option<u64>,
    /// Processes and threads that may still be made; `None`: no limit.
    pub pids_headroom: Option<u64>,
    /// Processes that the kernel killed for want of memory since the cgroup was made.
    pub oom_kills: Option<u64>,
    /// Time in which some process waited, in microseconds since the cgroup was made.
    pub pressure: BTreeMap<Pressure, u64>,
}

/// System V objects and shared memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpcSample {
    /// Semaphore arrays of the parent that lives.
    pub semaphores_live: u64,
    /// Those that an httpd which is gone left.
    pub semaphores_orphan: u64,
    /// All of this IPC namespace, anybody's.
    pub semaphores_used: u64,
    /// How many there may be (`SEMMNI`).
    pub semaphores_limit: u64,
    /// Semaphores in all arrays of this IPC namespace.
    pub members_used: u64,
    /// How many there may be (`SEMMNS`).
    pub members_limit: u64,
    /// Shared memory segments of the parent that lives.
    pub shm_live: u64,
    /// Those that an httpd which is gone left.
    pub shm_orphan: u64,
    /// Bytes in segments of the parent that lives.
    pub segment_bytes: u64,
    /// Bytes for which segments may still be made (`SHMALL`); 0 if there may not be as many more as
    /// the parent has (`SHMMNI`).
    pub segment_room: u64,
    /// Bytes in `/dev/shm` that the parent has mapped and a restart makes anew; `None` where its
    /// mappings cannot be read.
    pub shm_bytes: Option<u64>,
    /// Bytes that are free in `/dev/shm`; `None`: without a limit, or not known.
    pub shm_available: Option<u64>,
}

/// What only the reading process may see of a parent's shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMemory {
    /// Bytes in `/dev/shm` that the parent has mapped, without its scoreboard, which a graceful
    /// restart keeps.
    pub bytes: u64,
    /// Bytes that are free in the parent's `/dev/shm`; `None`: without a limit, or not there.
    pub available: Option<u64>,
    /// The parent has the IPC namespace of gracekeeper, so that its System V objects can be seen.
    pub is_same_namespace: bool,
}

/// One listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListeningSocket {
    /// Where it listens.
    pub address: SocketAddr,
    /// The socket itself: another one at the same address is another socket.
    pub inode: u64,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// How many may wait.
    pub limit: u32,
    /// Connections that were dropped there since it was made; `None` where the kernel does not
    /// tell.
    pub drops: Option<u64>,
}

/// What the network namespace dropped at any listener, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetnsDrops {
    /// `ListenOverflows`: the accept queue was full.
    pub overflows: u64,
    /// `ListenDrops`: for any reason.
    pub drops: u64,
}
