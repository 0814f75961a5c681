//! Processes whose end is reported, each held by a pidfd.

use std::{
    collections::{BTreeMap, VecDeque},
    os::fd::OwnedFd,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    process::{PidfdFlags, Resource, getrlimit, pidfd_open},
    system::uname,
};

use super::{EDGES, FIRST_PROCESS, Stamped};
use crate::model::{
    process::{Pid, ProcessId},
    snapshot::{Trace, TraceKind},
    time::Moment,
};

/// Descriptors that are no pidfds: as many connections as are taken, and as much again.
const FOR_OTHERS: u64 = 512;
/// Processes of which nothing but the reaping is awaited.
const MOST_RETIRED: usize = 64;
/// Of so many ended children it is asked whether they are reaped: one is enough.
const MOST_LINGERING: usize = 8;

#[derive(Debug)]
struct Held {
    server: usize,
    token: u64,
    pidfd: OwnedFd,
    end: End,
}

/// How much of a process's end was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing: it lives.
    Awaited,
    /// It has ended; its parent has not taken note of that.
    Exited,
    /// Its parent has.
    Reaped,
}

/// Every process that is held.
#[derive(Debug)]
pub(super) struct Processes {
    held: BTreeMap<ProcessId, Held>,
    /// Let go before their parent took note of their end.
    retired: VecDeque<(ProcessId, Held)>,
    tokens: BTreeMap<u64, ProcessId>,
    next_token: u64,
    /// How many processes may be held.
    budget: usize,
    /// The kernel reports when an ended process is reaped.
    pub(super) tells_of_reaping: bool,
}

impl Processes {
    pub(super) fn new() -> Self {
        Self {
            held: BTreeMap::new(),
            retired: VecDeque::new(),
            tokens: BTreeMap::new(),
            next_token: FIRST_PROCESS,
            budget: budget(),
            tells_of_reaping: tells_of_reaping(&uname().release().to_string_lossy()),
        }
    }

    pub(super) fn hold(
        &mut self,
        epoll: &OwnedFd,
        server: usize,
        id: ProcessId,
        confirm: impl FnOnce(Pid) -> Option<ProcessId>,
    ) -> bool {
        if self.held.contains_key(&id) {
            return true;
        }
        if self.held.len() >= self.budget {
            return false;
        }
        let Some(pid) = rustix::process::Pid::from_raw(id.pid.as_raw()) else {
            return false;
        };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        if confirm(id.pid) != Some(id) {
            return false;
        }
        let token = self.next_token;
        let data = epoll::EventData::new_u64(token);
        if epoll::add(epoll, &pidfd, data, EDGES).is_err() {
            return false;
        }
        self.next_token += 1;
        self.tokens.insert(token, id);
        self.held.insert(id, Held { server, token, pidfd, end: End::Awaited });
        true
    }

    pub(super) fn holds(&self, id: &ProcessId) -> bool {
        self.held.contains_key(id)
    }

    pub(super) fn pidfd(&self, id: &ProcessId) -> Option<&OwnedFd> {
        self.held.get(id).map(|held| &held.pidfd)
    }

    /// Lets it go. Of one that has ended the reaping is still reported.
    pub(super) fn release(&mut self, id: &ProcessId) {
        let Some(held) = self.held.remove(id) else { return };
        if held.end != End::Exited || !self.tells_of_reaping {
            self.tokens.remove(&held.token);
            return;
        }
        self.retired.push_back((*id, held));
        if self.retired.len() > MOST_RETIRED
            && let Some((_, oldest)) = self.retired.pop_front()
        {
            self.tokens.remove(&oldest.token);
        }
    }

    pub(super) fn forget(&mut self, server: usize) {
        self.held.retain(|_, held| held.server != server);
        self.retired.retain(|(_, held)| held.server != server);
        let retired = &self.retired;
        self.tokens.retain(|_, id| {
            self.held.contains_key(id) || retired.iter().any(|(other, _)| other == id)
        });
    }

    /// What a descriptor's readiness tells. `files_read`: events of files were read since the
    /// kernel reported it, perhaps also such that came after this.
    pub(super) fn notice(
        &mut self,
        epoll: &OwnedFd,
        token: u64,
        reaped: bool,
        files_read: bool,
        at: Moment,
    ) -> Option<Stamped> {
        let id = self.tokens.get(&token).copied()?;
        let retired = self.retired.iter_mut().find(|(other, _)| *other == id);
        let held = self.held.get_mut(&id).or(retired.map(|(_, held)| held))?;
        let before = held.end;
        held.end = if reaped { End::Reaped } else { End::Exited };
        let server = held.server;
        let stamped = |kind| Some(Stamped { server, trace: Trace { at, kind } });
        if reaped || !self.tells_of_reaping {
            // There is nothing more to be told of it.
            let _ = epoll::delete(epoll, &held.pidfd);
            self.tokens.remove(&token);
            self.retired.retain(|(other, _)| *other != id);
        }
        match before {
            End::Awaited => stamped(TraceKind::Exited(id)),
            // Its place in the queue is that of its reaping, for it was taken out in between.
            End::Exited if reaped && !files_read => stamped(TraceKind::Reaped(id)),
            End::Exited | End::Reaped => None,
        }
    }

    /// Which of a server's ended children are not reaped now.
    pub(super) fn lingering(&self, server: usize, at: Moment) -> Vec<Stamped> {
        if !self.tells_of_reaping {
            return Vec::new();
        }
        let held = self.held.iter().map(|(id, held)| (*id, held));
        let retired = self.retired.iter().map(|(id, held)| (*id, held));
        let ended = held
            .chain(retired)
            .filter(|(_, held)| held.server == server && held.end == End::Exited);
        let lingering = ended.take(MOST_LINGERING).filter(|(_, held)| !is_reaped(&held.pidfd));
        let kinds = lingering.map(|(id, _)| TraceKind::Lingers(id));
        kinds.map(|kind| Stamped { server, trace: Trace { at, kind } }).collect()
    }
}

/// Whether the parent of an ended process has taken note of that.
fn is_reaped(pidfd: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let polls = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let [polled] = polled;
    polls.is_err() || polled.revents().contains(PollFlags::HUP)
}

/// Since 6.9 a pidfd hangs up when its process is reaped.
fn tells_of_reaping(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    number().zip(number()).is_some_and(|version| version >= (6, 9))
}

/// Connections and files need descriptors too; who is not held is followed in the process table.
fn budget() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let budget = if limit > 2 * FOR_OTHERS { limit - FOR_OTHERS } else { limit / 2 };
    usize::try_from(budget).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pidfd_hangs_up_since_6_9() {
        assert!(tells_of_reaping("6.9.0"));
        assert!(tells_of_reaping("6.18.44-fc-v669"));
        assert!(tells_of_reaping("7.0-rc1"));
        assert!(!tells_of_reaping("6.8.12-generic"));
        assert!(!tells_of_reaping("5.14.0-503.el9.x86_64"));
        assert!(!tells_of_reaping("unheard of"));
    }
}
