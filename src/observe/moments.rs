//! The moment at which things happen: pidfds and inotify, stamped as the kernel reports them.
//!
//! One descriptor waits for all of it, so that a look follows at once and nothing is polled.
//!
//! What becomes ready is reported in its order, once, as it becomes so (edge-triggered epoll keeps a
//! queue). That tells on which side of a file's event a child was reaped, and so a hard restart from
//! a graceful one: the former waits for its children before it reads its configuration.

mod processes;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fs::inotify::{self, ReadFlags, WatchFlags},
    io::Errno,
};

use self::processes::Processes;
use crate::{
    clock,
    model::{
        process::{Pid, ProcessId},
        snapshot::{Trace, TraceKind},
        time::Moment,
    },
};

/// As many descriptors as one system call reports; the next one reports the rest.
const BATCH: usize = 256;
/// Reported once, in the order in which things became so. Of a pidfd `HUP` is the reaping.
const EDGES: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ET);
const INOTIFY: u64 = 0;
const WAKE: u64 = 1;
const LOGS: u64 = 2;
const FIRST_PROCESS: u64 = 3;

/// A trace and the server that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The server's number.
    pub server: usize,
    /// What happened.
    pub trace: Trace,
}

/// What one wait ended with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// What the kernel reported, in its order.
    pub traces: Vec<Stamped>,
    /// Another thread wants the watch's attention.
    pub woken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Watched {
    /// The directory of a pid file of this name.
    PidFile { server: usize, name: OsString },
    /// A main configuration.
    Configuration { server: usize },
}

impl Watched {
    const fn server(&self) -> usize {
        match self {
            Self::PidFile { server, .. } | Self::Configuration { server } => *server,
        }
    }
}

/// Every kernel object that reports something.
#[derive(Debug)]
pub struct Moments {
    epoll: OwnedFd,
    inotify: Option<OwnedFd>,
    wake: OwnedFd,
    processes: Processes,
    watches: BTreeMap<i32, Vec<Watched>>,
    /// The youngest stamp that was given.
    last: Moment,
}

impl Moments {
    /// Waits for nothing yet but `wake`, a descriptor that becomes readable when another thread
    /// wants attention.
    pub fn new(wake: OwnedFd) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        // Without inotify, for want of instances, the pid file is still read at every look.
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags).ok();
        if let Some(inotify) = &inotify {
            let data = epoll::EventData::new_u64(INOTIFY);
            epoll::add(&epoll, inotify, data, EDGES)?;
        }
        Ok(Self {
            epoll,
            inotify,
            wake,
            processes: Processes::new(),
            watches: BTreeMap::new(),
            last: clock::now(),
        })
    }

    /// Reports that whoever reads error logs has something to say over this descriptor.
    pub fn listen_to_logs(&self, descriptor: impl AsFd) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(LOGS), EDGES)?)
    }

    /// Holds a process, so that its end is reported. `confirm` reads its identity again once it is
    /// held: a number alone may have changed hands. False: it is gone, or cannot be held.
    pub fn hold(
        &mut self,
        server: usize,
        id: ProcessId,
        confirm: impl FnOnce(Pid) -> Option<ProcessId>,
    ) -> bool {
        self.processes.hold(&self.epoll, server, id, confirm)
    }

    /// Whether the end of this process will be reported.
    #[must_use]
    pub fn holds(&self, id: &ProcessId) -> bool {
        self.processes.holds(id)
    }

    /// The descriptor of a held process, also after it ended.
    #[must_use]
    pub fn pidfd(&self, id: &ProcessId) -> Option<&OwnedFd> {
        self.processes.pidfd(id)
    }

    /// Lets a process go. Of one that has ended the reaping is still reported.
    pub fn release(&mut self, id: &ProcessId) {
        self.processes.release(id);
    }

    /// Lets go of all that was held and watched for a server.
    pub fn forget(&mut self, server: usize) {
        self.processes.forget(server);
        for watched in self.watches.values_mut() {
            watched.retain(|watched| watched.server() != server);
        }
        self.watches.retain(|_, watched| !watched.is_empty());
    }

    /// Reports the writing and removing of a pid file. To be said again at every look: a directory
    /// may be made anew.
    pub fn watch_pid_file(&mut self, server: usize, path: &Path) {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let events = WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        self.watch(directory, events, Watched::PidFile { server, name: name.to_owned() });
    }

    /// Reports the opening of a main configuration. To be said again at every look: editors
    /// replace it.
    pub fn watch_configuration(&mut self, server: usize, path: &Path) {
        self.watch(path, WatchFlags::OPEN, Watched::Configuration { server });
    }

    /// Waits until something happens, at most for `limit`, and takes all that has.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Happened> {
        let mut happened = Happened::default();
        let mut limit = limit;
        while self.wait_once(limit, &mut happened)? == BATCH {
            limit = Duration::ZERO;
        }
        Ok(happened)
    }

    /// Takes one batch; returns how large it was.
    fn wait_once(&mut self, limit: Duration, happened: &mut Happened) -> io::Result<usize> {
        let mut events = Vec::with_capacity(BATCH);
        let timeout = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let at = clock::now();
        let (batch, earlier) = (events.len(), happened.traces.len());
        let mut files_read = false;
        for event in events {
            match event.data.u64() {
                INOTIFY => {
                    self.read_inotify(at, happened);
                    files_read = true;
                }
                WAKE => {
                    self.drain_wake();
                    happened.woken = true;
                }
                // Whoever waits asks its reader what it has to say.
                LOGS => {}
                token => {
                    // The kernel's record is packed.
                    let flags = event.flags;
                    let reaped = flags.contains(epoll::EventFlags::HUP);
                    let stamped = self.processes.notice(&self.epoll, token, reaped, files_read, at);
                    happened.traces.extend(stamped);
                }
            }
        }
        // What is read at once has its order all the same: of two restarts each has its own events.
        for stamped in happened.traces.iter_mut().skip(earlier) {
            self.last = stamped.trace.at.max(self.last.after(Duration::from_micros(1)));
            stamped.trace.at = self.last;
        }
        Ok(batch)
    }

    fn watch(&mut self, path: &Path, events: WatchFlags, watched: Watched) {
        let Some(inotify) = &self.inotify else { return };
        // Two servers may share a directory: the mask is the same for both.
        let Ok(descriptor) = inotify::add_watch(inotify, path, events) else {
            return;
        };
        for others in self.watches.values_mut() {
            others.retain(|other| *other != watched);
        }
        self.watches.entry(descriptor).or_default().push(watched);
        self.watches.retain(|_, watched| !watched.is_empty());
    }

    fn drain_wake(&self) {
        let mut buffer = [0_u8; 64];
        while rustix::io::read(&self.wake, &mut buffer).is_ok_and(|read| read == buffer.len()) {}
    }

    fn read_inotify(&mut self, at: Moment, happened: &mut Happened) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify.as_fd(), &mut buffer);
        let mut opened = BTreeSet::new();
        // Until it is empty: only then does it become ready again.
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
            if event.events().contains(ReadFlags::IGNORED) {
                self.watches.remove(&event.wd());
                continue;
            }
            for watched in self.watches.get(&event.wd()).into_iter().flatten() {
                let stamped = meaning(watched, event.events(), name.as_ref())
                    .map(|(server, kind)| Stamped { server, trace: Trace { at, kind } });
                let opens = |it: &Stamped| it.trace.kind == TraceKind::ConfigOpened;
                opened.extend(stamped.filter(opens).map(|it| it.server));
                happened.traces.extend(stamped);
            }
        }
        for server in opened {
            happened.traces.extend(self.processes.lingering(server, at));
        }
    }
}

fn meaning(
    watched: &Watched,
    events: ReadFlags,
    name: Option<&OsString>,
) -> Option<(usize, TraceKind)> {
    match watched {
        Watched::Configuration { server } => {
            events.contains(ReadFlags::OPEN).then_some((*server, TraceKind::ConfigOpened))
        }
        Watched::PidFile { name: wanted, .. } if Some(wanted) != name => None,
        Watched::PidFile { server, .. } => {
            let gone = events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
            let kind = if gone { TraceKind::PidFileRemoved } else { TraceKind::PidFileWritten };
            Some((*server, kind))
        }
    }
}

/// A path that can be watched, made absolute against the working directory of the start.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "a process whose end is reported")]
#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::model::time::Uptime;

    fn moments() -> (Moments, OwnedFd) {
        let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        (Moments::new(ear).unwrap(), wake)
    }

    /// What happens until something does.
    fn next(moments: &mut Moments) -> Happened {
        moments.wait(Duration::from_secs(30)).unwrap()
    }

    fn kinds(moments: &mut Moments) -> Vec<(usize, TraceKind)> {
        let happened = moments.wait(Duration::ZERO).unwrap();
        happened.traces.iter().map(|stamped| (stamped.server, stamped.trace.kind)).collect()
    }

    #[test]
    fn a_pid_file_is_written_by_rename_or_in_place_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("httpd.pid");
        let (mut moments, _wake) = moments();
        moments.watch_pid_file(3, &path);
        fs::write(directory.path().join("httpd.pid.x"), "1\n").unwrap();
        fs::write(directory.path().join("access.log"), "").unwrap();
        assert_eq!(kinds(&mut moments), [], "other files");
        fs::rename(directory.path().join("httpd.pid.x"), &path).unwrap();
        assert_eq!(kinds(&mut moments), [(3, TraceKind::PidFileWritten)]);
        fs::write(&path, "1\n").unwrap();
        assert_eq!(kinds(&mut moments), [(3, TraceKind::PidFileWritten)]);
        fs::remove_file(&path).unwrap();
        assert_eq!(kinds(&mut moments), [(3, TraceKind::PidFileRemoved)]);
    }

    #[test]
    fn what_is_read_at_once_keeps_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let (mut moments, _wake) = moments();
        fs::write(at("httpd.conf"), "").unwrap();
        moments.watch_configuration(0, &at("httpd.conf"));
        moments.watch_pid_file(0, &at("httpd.pid"));
        for _ in 0..3 {
            fs::read(at("httpd.conf")).unwrap();
            fs::write(at("httpd.pid"), "1\n").unwrap();
        }
        let traces = moments.wait(Duration::ZERO).unwrap().traces;
        let kinds: Vec<_> = traces.iter().map(|stamped| stamped.trace.kind).collect();
        assert_eq!(kinds, [TraceKind::ConfigOpened, TraceKind::PidFileWritten].repeat(3));
        assert!(traces.is_sorted_by(|one, other| one.trace.at < other.trace.at));
    }

    #[test]
    fn a_directory_that_is_made_anew_is_watched_again() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        let path = run.join("httpd.pid");
        let (mut moments, _wake) = moments();
        moments.watch_pid_file(0, &path);
        fs::create_dir(&run).unwrap();
        for _ in 0..2 {
            moments.watch_pid_file(0, &path);
            fs::write(&path, "1\n").unwrap();
            assert_eq!(kinds(&mut moments), [(0, TraceKind::PidFileWritten)]);
            fs::remove_dir_all(&run).unwrap();
            fs::create_dir(&run).unwrap();
            kinds(&mut moments);
        }
    }

    #[test]
    fn servers_that_share_a_directory_hear_of_their_own_file() {
        let directory = tempfile::tempdir().unwrap();
        let (mut moments, _wake) = moments();
        moments.watch_pid_file(0, &directory.path().join("a.pid"));
        moments.watch_pid_file(1, &directory.path().join("b.pid"));
        moments.watch_pid_file(0, &directory.path().join("a.pid"));
        fs::write(directory.path().join("b.pid"), "1\n").unwrap();
        assert_eq!(kinds(&mut moments), [(1, TraceKind::PidFileWritten)]);
        fs::write(directory.path().join("a.pid"), "1\n").unwrap();
        assert_eq!(kinds(&mut moments), [(0, TraceKind::PidFileWritten)]);
    }

    #[test]
    fn a_configuration_that_an_editor_replaced_is_watched_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("httpd.conf");
        fs::write(&path, "").unwrap();
        let (mut moments, _wake) = moments();
        moments.watch_configuration(2, &path);
        fs::read(&path).unwrap();
        assert_eq!(kinds(&mut moments), [(2, TraceKind::ConfigOpened)]);
        fs::write(directory.path().join("new"), "").unwrap();
        fs::rename(directory.path().join("new"), &path).unwrap();
        moments.watch_configuration(2, &path);
        kinds(&mut moments);
        fs::read(&path).unwrap();
        assert_eq!(kinds(&mut moments), [(2, TraceKind::ConfigOpened)]);
    }

    #[test]
    fn the_end_of_a_held_process_is_reported_once() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let id = ProcessId { pid, started: Uptime::from_micros(1) };
        let (mut moments, _wake) = moments();
        assert!(!moments.hold(0, id, |_| None), "it turned out to be somebody else");
        assert!(moments.hold(4, id, |_| Some(id)));
        child.kill().unwrap();
        let happened = next(&mut moments);
        let ended: Vec<_> = happened.traces.iter().map(|it| (it.server, it.trace.kind)).collect();
        assert_eq!(ended, [(4, TraceKind::Exited(id))]);
        child.wait().unwrap();
        assert!(moments.pidfd(&id).is_some(), "its status may still be asked");
        moments.release(&id);
        assert!(!moments.holds(&id));
        let reaped = moments.processes.tells_of_reaping.then_some((4, TraceKind::Reaped(id)));
        assert_eq!(kinds(&mut moments), reaped.into_iter().collect::<Vec<_>>());
        assert_eq!(kinds(&mut moments), []);
    }

    #[test]
    fn an_ended_child_that_is_not_reaped_lingers_when_the_configuration_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("httpd.conf");
        fs::write(&path, "").unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let id = ProcessId { pid, started: Uptime::from_micros(1) };
        let (mut moments, _wake) = moments();
        moments.watch_configuration(0, &path);
        assert!(moments.hold(0, id, |_| Some(id)));
        assert_eq!(next(&mut moments).traces[0].trace.kind, TraceKind::Exited(id));
        fs::read(&path).unwrap();
        let lingers = moments.processes.tells_of_reaping.then_some((0, TraceKind::Lingers(id)));
        let opened = [(0, TraceKind::ConfigOpened)];
        let expected: Vec<_> = opened.into_iter().chain(lingers).collect();
        assert_eq!(kinds(&mut moments), expected);
        moments.release(&id);
        fs::read(&path).unwrap();
        assert_eq!(kinds(&mut moments).len(), 1 + usize::from(lingers.is_some()), "let go");
        child.wait().unwrap();
        fs::read(&path).unwrap();
        let reaped = lingers.map(|_| (0, TraceKind::Reaped(id)));
        let expected: Vec<_> = reaped.into_iter().chain(opened).collect();
        assert_eq!(kinds(&mut moments), expected, "reaped before it was opened");
    }

    #[test]
    fn another_thread_wakes_it() {
        let (mut moments, wake) = moments();
        rustix::io::write(&wake, b"11").unwrap();
        assert!(next(&mut moments).woken);
        assert_eq!(moments.wait(Duration::ZERO).unwrap(), Happened::default());
    }
}
