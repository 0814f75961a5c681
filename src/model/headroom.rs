//! What a graceful restart needs twice, and whether there is that much.

use super::label::closed_set;

closed_set! {
    /// What may be too little for two generations.
    Resource {
        /// Memory, of the host and of every cgroup above.
        Memory = "memory",
        /// File descriptors of a process.
        Fds = "fds",
        /// Scoreboard slots.
        Slots = "slots",
        /// System V semaphores.
        Semaphores = "semaphores",
        /// Shared memory: System V segments, and what lies in `/dev/shm`.
        Shm = "shm",
        /// Processes and threads.
        Pids = "pids",
    }
}

closed_set! {
    /// What a process is to its server.
    Role {
        /// The parent.
        Parent = "parent",
        /// A child of the running generation.
        Current = "current",
        /// A child of an older one.
        Old = "old",
    }
}

closed_set! {
    /// Whose a System V object is.
    Owner {
        /// It belongs to the parent that lives.
        Live = "live",
        /// An httpd that is gone left it.
        Orphan = "orphan",
    }
}

closed_set! {
    /// What processes wait for, by the kernel's pressure stall information.
    Pressure {
        /// A processor.
        Cpu = "cpu",
        /// Memory.
        Memory = "memory",
        /// A disk.
        Io = "io",
    }
}

/// What a graceful restart now would need of a resource beside what there is of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// What it would need: bytes, or a number.
    pub needed: u64,
    /// What there is for it.
    pub available: u64,
}

impl Fit {
    /// There is enough.
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.needed <= self.available
    }
}
