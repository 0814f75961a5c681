//! Sees every child of a parent come and go: a thread that lists the children every other
//! millisecond and holds a pidfd of each.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::process::{Identity, Process, children_of, ended};

const SCAN: Duration = Duration::from_millis(2);
/// With a recorder that does not scan any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a process is to httpd, as far as `/proc` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Parent,
    /// A child that serves requests.
    Worker,
    /// The daemon of `mod_cgid`.
    Cgid,
    /// Another program: a piped logger, a passphrase dialog.
    Helper,
}

/// One process and what was seen of it.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) identity: Identity,
    /// The parent that it was listed under; for a parent itself its own pid.
    pub(crate) parent: u32,
    /// Until a few milliseconds after its fork any child passes for a worker.
    pub(crate) role: Role,
    /// It was forked before: when it was first seen, a scan after its fork, or the end of the clock
    /// tick (10 ms) of its fork on a machine that is too busy for scans.
    pub(crate) forked_by: SystemTime,
    /// When it ended, to the millisecond or two; a zombie has ended.
    pub(crate) exited: Option<SystemTime>,
}

pub(crate) struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    sightings: Mutex<Vec<Sighting>>,
    parents_to_come: Mutex<Vec<Process>>,
    rounds: Mutex<u64>,
    round_ended: Condvar,
    is_over: AtomicBool,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let seen_by_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || Watch::new(seen_by_thread).run())
            .unwrap();
        Self { shared, thread: Some(thread) }
    }

    /// From now on this parent and every child that it forks are recorded.
    pub(super) fn watch(&self, parent: Process) {
        self.shared.parents_to_come.lock().unwrap().push(parent);
    }

    /// Until a round that began after the call has ended.
    pub(super) fn wait_for_whole_round(&self) {
        let rounds = self.shared.rounds.lock().unwrap();
        // The next one to end may have begun before.
        let enough = *rounds + 2;
        let waited = self
            .shared
            .round_ended
            .wait_timeout_while(rounds, PATIENCE, |rounds| *rounds < enough)
            .unwrap();
        assert!(!waited.1.timed_out(), "the recorder has ended or hangs");
    }

    /// In the order in which they were first seen. Whatever happened before the call is in it.
    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        self.wait_for_whole_round();
        self.shared.sightings.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let ended_early = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!ended_early || thread::panicking(), "the recorder ended early, see above");
    }
}

/// A process that has not ended yet.
struct Watched {
    /// Of its sighting.
    index: usize,
    process: Process,
    role: Role,
    since: Instant,
    /// At what age its role is looked at again: a logger is a copy of httpd until it has executed,
    /// `mod_cgid`'s daemon one until it ignores SIGCHLD.
    next_look: Duration,
}

struct Watch {
    shared: Arc<Shared>,
    watched: Vec<Watched>,
    listed: BTreeSet<u32>,
}

impl Watch {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, watched: Vec::new(), listed: BTreeSet::new() }
    }

    fn run(mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            self.record_exits();
            let parents = std::mem::take(&mut *self.shared.parents_to_come.lock().unwrap());
            for parent in parents {
                let pid = parent.pid();
                self.admit(parent, pid, Role::Parent);
            }
            self.scan();
            self.look_at_roles();
            *self.shared.rounds.lock().unwrap() += 1;
            self.shared.round_ended.notify_all();
        }
    }

    /// Also paces the loop.
    fn record_exits(&mut self) {
        let pidfds: Vec<BorrowedFd<'_>> =
            self.watched.iter().map(|watched| watched.process.as_fd()).collect();
        let have_ended = ended(&pidfds, SCAN);
        let now = SystemTime::now();
        let mut sightings = self.shared.sightings.lock().unwrap();
        for (watched, _) in self.watched.iter().zip(&have_ended).filter(|(_, ended)| **ended) {
            sightings[watched.index].exited = Some(now);
        }
        drop(sightings);
        let mut have_ended = have_ended.into_iter();
        self.watched.retain(|_| !have_ended.next().unwrap_or(false));
    }

    fn scan(&mut self) {
        let mut listed = BTreeSet::new();
        let parents: Vec<u32> = self
            .watched
            .iter()
            .filter(|watched| watched.role == Role::Parent)
            .map(|watched| watched.process.pid())
            .collect();
        for parent in parents {
            let children = children_of(parent);
            let new: Vec<Process> =
                children.difference(&self.listed).filter_map(|pid| Process::open(*pid)).collect();
            for child in new {
                self.admit(child, parent, Role::Worker);
            }
            listed.extend(children);
        }
        self.listed = listed;
    }

    fn admit(&mut self, process: Process, parent: u32, role: Role) {
        let identity = process.identity();
        // The kernel's list skips children while others leave it; they are no new ones afterwards.
        if self.shared.sightings.lock().unwrap().iter().any(|seen| seen.identity == identity) {
            return;
        }
        let forked_by = SystemTime::now().min(identity.forked_by());
        let mut sightings = self.shared.sightings.lock().unwrap();
        let first_look = match role {
            Role::Parent => Duration::MAX,
            Role::Worker | Role::Cgid | Role::Helper => Duration::ZERO,
        };
        self.watched.push(Watched {
            index: sightings.len(),
            process,
            role,
            since: Instant::now(),
            next_look: first_look,
        });
        sightings.push(Sighting { identity, parent, role, forked_by, exited: None });
    }

    fn look_at_roles(&mut self) {
        for watched in &mut self.watched {
            let age = watched.since.elapsed();
            if age < watched.next_look {
                continue;
            }
            // Ever rarer: what a child is shows in its first milliseconds.
            watched.next_look = age * 2;
            let parent = self.shared.sightings.lock().unwrap()[watched.index].parent;
            if let Some(role) = role_of(watched.process.pid(), parent)
                && watched.process.is_alive()
            {
                watched.role = role;
                self.shared.sightings.lock().unwrap()[watched.index].role = role;
            }
        }
    }
}

fn role_of(pid: u32, parent: u32) -> Option<Role> {
    // mod_cgid's daemon leaves its scripts to the kernel; httpd's parent and workers never do.
    const CHILD_IGNORED: u64 = 1 << 16;
    let program = |pid: u32| std::fs::read(format!("/proc/{pid}/comm")).ok();
    if program(pid)? != program(parent)? {
        return Some(Role::Helper);
    }
    let process = procfs::process::Process::new(pid.cast_signed()).ok()?;
    let is_cgid = process.status().ok()?.sigign & CHILD_IGNORED != 0;
    Some(if is_cgid { Role::Cgid } else { Role::Worker })
}
