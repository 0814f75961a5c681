//! Processes as the kernel's process table shows them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{time::Uptime, waiting::Waiting};

/// A process number in gracekeeper's own PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32")]
pub struct Pid(i32);

/// The identity of a process: a pid alone may be somebody else's a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process number.
    pub pid: Pid,
    /// When it started, to the clock tick (10 ms): field 22 of `/proc/PID/stat`.
    pub started: Uptime,
}

/// Field 3 of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessState {
    /// Running or sleeping: it can make progress.
    Alive,
    /// `D`: in the kernel, not to be interrupted.
    Uninterruptible,
    /// `T` or `t`: stopped by a signal or a tracer.
    Stopped,
    /// `Z` or `X`: ended, perhaps not reaped yet.
    Ended,
}

/// What a child of the parent is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildRole {
    /// The parent's own program: it serves requests.
    Httpd,
    /// The parent's own program, and it ignores the ends of its own children: the cgid daemon, which
    /// any restart replaces. Told from the others only where no slots do.
    Daemon,
    /// Another program: a piped logger, a pass phrase dialog.
    Helper,
}

/// A child of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Who it is.
    pub id: ProcessId,
    /// What it is there for, by its program.
    pub role: ChildRole,
    /// How it is.
    pub state: ProcessState,
}

/// How a process ended, from `PIDFD_GET_INFO` or a parent's wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}

/// The parent's own row of the process table, and its children's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessTable {
    /// How the parent is.
    pub state: ProcessState,
    /// The parent catches SIGSEGV: it does so whenever it is not reading its configuration.
    pub catches_crashes: bool,
    /// Every child, zombies included, by its process number.
    pub children: BTreeMap<Pid, Child>,
    /// Some children of the oldest, that were read after the pid file was: each ran then, and
    /// nobody had told it to end. Only while a restart's type depends on it.
    pub well: Vec<ProcessId>,
    /// Children that were seen stopped, or deep in the kernel with a deadly signal waiting: a hard
    /// restart may have taken them for dead. Only while no scoreboard tells a restart's type.
    pub halted: Vec<ProcessId>,
    /// The children have threads, and so are those of event or worker, which signals do not end:
    /// those of prefork exit in order whoever signals them.
    pub threaded: bool,
    /// What the parent may be waiting for.
    pub waiting: Waiting,
}

/// What Prometheus' client libraries tell of their process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnProcess {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Their soft limit.
    pub max_fds: Option<u64>,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// When it started, in seconds since the epoch.
    pub start_seconds: f64,
    /// Its threads.
    pub threads: u64,
}

impl Pid {
    /// A process number; `None` for what can be no process of its own: zero and below.
    #[must_use]
    pub fn new(number: i32) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl TryFrom<i32> for Pid {
    type Error = &'static str;

    fn try_from(number: i32) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("a process number is above zero")
    }
}

impl ProcessTable {
    /// The child of this number, unless it has ended.
    #[must_use]
    pub fn living(&self, pid: Pid) -> Option<&Child> {
        self.children.get(&pid).filter(|child| child.state != ProcessState::Ended)
    }
}

impl ExitStatus {
    /// Reads a status as `wait(2)` packs it.
    #[must_use]
    pub fn from_wait(status: i32) -> Self {
        let [low, high, ..] = status.to_le_bytes();
        match low & 0x7f {
            0 => Self::Code(high),
            signal => Self::Signal(signal),
        }
    }

    /// The kernel sends this signal to a process that did what it must not, or the process sends it
    /// to itself: SIGQUIT, ILL, TRAP, ABRT, BUS, FPE, SEGV, XCPU, XFSZ, SYS. Each leaves a core.
    #[must_use]
    pub const fn is_crash(signal: u8) -> bool {
        matches!(signal, 3..=8 | 11 | 24 | 25 | 31)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_a_code_or_a_signal() {
        assert_eq!(ExitStatus::from_wait(0), ExitStatus::Code(0));
        assert_eq!(ExitStatus::from_wait(15 << 8), ExitStatus::Code(15));
        assert_eq!(ExitStatus::from_wait(9), ExitStatus::Signal(9));
        assert_eq!(ExitStatus::from_wait(0x8b), ExitStatus::Signal(11), "with a core");
    }

    #[test]
    fn nobody_is_process_zero() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(-1), None);
        assert_eq!(Pid::new(1).map(Pid::as_raw), Some(1));
    }
}
