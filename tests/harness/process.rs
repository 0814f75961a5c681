//! A process of the system under test: its pid and start time, held by a pidfd.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use procfs::process::Stat;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::{ClockId, clock_gettime};

/// Names one process for good, also after its pid went to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Clock ticks since boot.
    start: u64,
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self { pid: stat.pid.cast_unsigned(), start: stat.starttime }
    }

    /// The end of the clock tick in which the process was forked, in wall clock time.
    pub(crate) fn forked_by(self) -> SystemTime {
        let tick = 1000 / rustix::param::clock_ticks_per_second();
        boot() + Duration::from_millis((self.start + 1) * tick)
    }
}

/// When the kernel started.
fn boot() -> SystemTime {
    let reading = || {
        let uptime = clock_gettime(ClockId::Boottime);
        let nanoseconds = u32::try_from(uptime.tv_nsec).unwrap();
        SystemTime::now() - Duration::new(uptime.tv_sec.cast_unsigned(), nanoseconds)
    };
    // Too late by as long as the thread was suspended between its two clocks.
    (0..5).map(|_| reading()).min().unwrap()
}

pub(crate) struct Process {
    identity: Identity,
    pidfd: OwnedFd,
}

impl Process {
    /// `None` if it is gone and reaped; a zombie can still be opened.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()?;
        // The pidfd holds the process, not the pid: read after it, this may be another's start
        // time only if the first one has been reaped, and then signals to the pidfd go nowhere.
        let identity = Identity::of(&stat(pid)?);
        Some(Self { identity, pidfd })
    }

    pub(crate) fn duplicate(&self) -> Self {
        Self { identity: self.identity, pidfd: self.pidfd.try_clone().unwrap() }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// A process that has ended already has taken every signal there is.
    pub(crate) fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => panic!("send {signal:?} to {:?}: {error}", self.identity),
        }
    }

    /// Runs, which a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        ended(&[self.as_fd()], time)[0]
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Which of these pidfds' processes have ended, after waiting at most `time` for one to end.
pub(crate) fn ended(pidfds: &[BorrowedFd<'_>], time: Duration) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> =
        pidfds.iter().map(|pidfd| PollFd::from_borrowed_fd(*pidfd, PollFlags::IN)).collect();
    let timeout = Timespec::try_from(time).unwrap();
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => panic!("poll pidfds: {error}"),
    }
    polled.iter().map(|pidfd| pidfd.revents().contains(PollFlags::IN)).collect()
}

/// The parent's forked and not yet reaped children; none of a parent that is gone.
pub(crate) fn children_of(parent: u32) -> BTreeSet<u32> {
    // httpd forks from its main thread only.
    std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Every living process that has `mark` in its environment, or is in a process group or session
/// that one of `leaders` founded, or descends from such a process.
pub(crate) fn belonging_to(mark: &OsStr, leaders: &[Identity]) -> Vec<Process> {
    let leaders: Vec<i32> = leaders
        .iter()
        // A group that another process has founded since is not ours to kill.
        .filter(|leader| stat(leader.pid).is_none_or(|stat| Identity::of(&stat) == **leader))
        .map(|leader| leader.pid.cast_signed())
        .collect();
    let everything: Vec<(Stat, bool)> = procfs::process::all_processes()
        .expect("read /proc")
        .flatten()
        .filter_map(|process| Some((process.stat().ok()?, is_marked(&process, mark))))
        .collect();
    let mut members: BTreeSet<i32> = everything
        .iter()
        .filter(|(stat, marked)| {
            *marked || leaders.contains(&stat.pgrp) || leaders.contains(&stat.session)
        })
        .map(|(stat, _)| stat.pid)
        .collect();
    loop {
        let before = members.len();
        let grown =
            everything.iter().filter(|(stat, _)| members.contains(&stat.ppid)).map(|(s, _)| s.pid);
        members.extend(grown.collect::<Vec<_>>());
        if members.len() == before {
            break;
        }
    }
    everything
        .iter()
        .filter(|(stat, _)| members.contains(&stat.pid) && stat.state != 'Z')
        .filter_map(|(stat, _)| {
            Process::open(stat.pid.cast_unsigned())
                .filter(|process| process.identity() == Identity::of(stat))
        })
        .filter(Process::is_alive)
        .collect()
}

fn is_marked(process: &procfs::process::Process, mark: &OsStr) -> bool {
    let Ok(environment) = process.environ() else {
        return false;
    };
    environment.get(OsStr::new(MARK)).is_some_and(|value| value == mark)
}

/// The variable of the environment that tells whose process this is, whatever becomes of its
/// parent, process group and session.
pub(crate) const MARK: &str = "HARNESS_DIRECTORY";

fn stat(pid: u32) -> Option<Stat> {
    procfs::process::Process::new(pid.cast_signed()).ok()?.stat().ok()
}
