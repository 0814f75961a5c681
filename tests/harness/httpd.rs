//! One private httpd: a real server in a directory, a process group and a port of its own.
//!
//! Dropping it ends every process that belongs to it and removes the directory, also during a panic,
//! which prints its error log too.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::configuration::{Builder, Mpm, Start};
use super::error_log::{ErrorLog, Lifecycle};
use super::eventually::eventually;
use super::held::{Backend, HeldRequests};
use super::oracle::Oracle;
use super::parent::{self, Parent};
use super::process::{self, Identity, Process};
use super::status;

/// What a parent gets to end by itself, and so to remove its shared memory, before SIGKILL.
const FAREWELL: Duration = Duration::from_secs(1);
const PORTS_TO_TRY: usize = 20;

pub(crate) struct Httpd {
    settings: Builder,
    port: u16,
    parent: Option<Parent>,
    /// Each founded a process group, in which children may outlive it.
    parents: Vec<Identity>,
    oracle: Oracle,
    backend: Backend,
    directory: TempDir,
}

/// Why a start came to nothing.
enum Refusal {
    PortTaken,
    Failed,
}

impl Httpd {
    pub(crate) fn builder(mpm: Mpm) -> Builder {
        Builder::new(mpm)
    }

    pub(super) fn start(settings: Builder) -> Self {
        let directory = TempDir::with_prefix("httpd-").unwrap();
        // httpd's children are another user's when the parent is root's.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["run", "logs", "htdocs"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("htdocs/index.html"), "served\n").unwrap();
        let mut httpd = Self {
            settings,
            port: 0,
            parent: None,
            parents: Vec::new(),
            oracle: Oracle::new(ErrorLog::new(directory.path())),
            backend: Backend::start(),
            directory,
        };
        for _ in 0..PORTS_TO_TRY {
            httpd.port = unused_port();
            let text =
                httpd.settings.render(httpd.directory.path(), httpd.port, httpd.backend.address());
            fs::write(httpd.configuration_file(), text).unwrap();
            match httpd.launch() {
                Ok(()) => return httpd,
                Err(Refusal::PortTaken) => {}
                Err(Refusal::Failed) => panic!("httpd does not start:\n{}", httpd.said()),
            }
        }
        panic!("{PORTS_TO_TRY} ports were taken:\n{}", httpd.said());
    }

    /// Starts a new parent in the same directory, on the same port, and waits until it serves.
    pub(crate) fn start_again(&mut self) {
        let started = self.launch();
        assert!(started.is_ok(), "httpd does not start again:\n{}", self.said());
    }

    pub(crate) fn mpm(&self) -> Mpm {
        self.settings.mpm
    }

    /// The parent's, also after its end.
    pub(crate) fn pid(&self) -> u32 {
        self.parent().process.pid()
    }

    pub(crate) fn parent_is_alive(&self) -> bool {
        self.parent().process.is_alive()
    }

    /// None while it runs, and of a daemonised parent, which is not our child.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.parent().exit_status()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn configuration_file(&self) -> PathBuf {
        parent::configuration_file(self.directory())
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        parent::pid_file(self.directory())
    }

    pub(crate) fn error_log(&self) -> ErrorLog {
        ErrorLog::new(self.directory())
    }

    pub(crate) fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// The running generation as `mod_status` has it; none while no worker is free to say so.
    pub(crate) fn generation(&self) -> Option<u32> {
        status::generation(self.address())
    }

    /// Each child's generation by pid, as `mod_status` has it.
    pub(crate) fn generations_of_children(&self) -> Option<BTreeMap<u32, u32>> {
        status::generations_of_children(self.address())
    }

    /// To the parent only, by its pidfd.
    pub(crate) fn signal(&self, signal: Signal) {
        self.oracle.note_signal(self.pid(), signal);
        self.parent().process.signal(signal);
    }

    pub(crate) fn graceful(&self) {
        self.oracle.catch_up();
        self.signal(Signal::USR1);
    }

    pub(crate) fn hard(&self) {
        self.oracle.catch_up();
        self.signal(Signal::HUP);
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn graceful_stop(&self) {
        self.signal(Signal::WINCH);
    }

    /// Returns when it is dead; its children live on.
    pub(crate) fn kill_parent(&self) {
        self.signal(Signal::KILL);
        eventually("the parent is dead", || !self.parent_is_alive());
    }

    /// So many graceful restarts, `gap` apart or, where httpd takes longer than that to resume, as
    /// soon as it has: a signal between its main loop and its reading the configuration is lost.
    pub(crate) fn graceful_times(&self, count: usize, gap: Duration) {
        for _ in 0..count {
            let (before, sent) = (self.oracle.completed_restarts().len(), Instant::now());
            self.graceful();
            self.oracle.after_restarts(before + 1);
            thread::sleep(gap.saturating_sub(sent.elapsed()));
        }
    }

    /// So many signals, `gap` apart whatever httpd does meanwhile: it may merge some.
    pub(crate) fn signal_times(&self, signal: Signal, count: usize, gap: Duration) {
        for _ in 0..count {
            self.signal(signal);
            thread::sleep(gap);
        }
    }

    /// Occupies so many workers and returns when all are busy.
    #[track_caller]
    pub(crate) fn hold_requests(&self, count: usize) -> HeldRequests {
        self.backend.hold(self.address(), count)
    }

    /// Occupies every worker that is not held yet, up to `MaxRequestWorkers`: nobody is left to
    /// answer. Not while an old generation drains, whose workers count apart in some MPMs.
    #[track_caller]
    pub(crate) fn hold_all_workers(&self) -> HeldRequests {
        let workers = usize::try_from(self.settings.workers()).unwrap();
        let free = workers - self.backend.in_flight();
        self.backend.hold_every_worker(self.address(), free)
    }

    /// Takes effect at the next restart.
    pub(crate) fn rewrite_config(&self, rewrite: impl FnOnce(String) -> String) {
        let text = fs::read_to_string(self.configuration_file()).unwrap();
        fs::write(self.configuration_file(), rewrite(text)).unwrap();
    }

    /// Every living process that this httpd is responsible for.
    pub(crate) fn processes(&self) -> Vec<Process> {
        process::belonging_to(self.directory().as_os_str(), &self.parents)
    }

    fn parent(&self) -> &Parent {
        self.parent.as_ref().expect("a httpd that is handed out has been started")
    }

    fn launch(&mut self) -> Result<(), Refusal> {
        let refused_before = self.bind_refusals();
        let parent = match self.settings.start {
            Start::Foreground => Some(Parent::in_foreground(self.directory())),
            Start::Daemonised => Parent::daemonised(self.directory()),
        };
        if let Some(parent) = parent {
            let pid = parent.process.pid();
            self.oracle.watch(parent.process.duplicate());
            self.parents.push(parent.process.identity());
            let parent = self.parent.insert(parent);
            let log = ErrorLog::new(self.directory.path());
            let serves = eventually("httpd starts or refuses to", || {
                let has_resumed = log
                    .entries()
                    .iter()
                    .any(|entry| entry.pid == pid && entry.lifecycle() == Some(Lifecycle::Resumed));
                // The log is read first: a parent that ended after it had resumed did start.
                has_resumed
                    .then_some(true)
                    .or_else(|| (!parent.process.is_alive()).then_some(false))
            });
            if serves {
                // A worker that is just starting is not yet one to be occupied.
                eventually("the first children have started", || {
                    status::workers(self.address()) >= Some(self.settings.first_workers())
                });
                return Ok(());
            }
        }
        Err(if self.bind_refusals() > refused_before {
            Refusal::PortTaken
        } else {
            Refusal::Failed
        })
    }

    fn bind_refusals(&self) -> usize {
        // "make_sock: could not bind to address"
        self.said().matches("AH00072").count()
    }

    /// What a failure is explained with.
    fn said(&self) -> String {
        let output = fs::read_to_string(parent::output_file(self.directory())).unwrap_or_default();
        format!("{output}{}", self.error_log().text())
    }

    /// SIGTERM first, so that httpd removes what the kernel would keep; then SIGKILL for all.
    fn end(&mut self) {
        self.backend.end();
        let memory = self.shared_memory();
        if let Some(parent) = &self.parent {
            parent.process.signal(Signal::TERM);
            parent.process.ends_within(FAREWELL);
        }
        let begin = Instant::now();
        // Again until nobody is left: who forks while the list is read is on the next one.
        loop {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for process in &left {
                process.signal(Signal::KILL);
            }
            for process in &left {
                process.ends_within(FAREWELL);
            }
            if begin.elapsed() > Duration::from_secs(20) {
                eprintln!("{} processes of httpd cannot be killed", left.len());
                break;
            }
        }
        for name in memory.iter().filter(|name| name.exists()) {
            let _: std::io::Result<()> = fs::remove_file(name);
        }
        if let Some(parent) = self.parent.take() {
            parent.wait_until_reaped();
        }
    }

    /// Named segments, which outlive a killed httpd.
    fn shared_memory(&self) -> Vec<PathBuf> {
        let mut names = Vec::new();
        for process in self.processes() {
            let maps = fs::read_to_string(format!("/proc/{}/maps", process.pid()));
            for line in maps.unwrap_or_default().lines() {
                if let Some(at) = line.find("/dev/shm/") {
                    names.push(PathBuf::from(&line[at..]));
                }
            }
        }
        names.dedup();
        names
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        if thread::panicking() && self.parent.is_some() {
            eprintln!("httpd in {}:\n{}", self.directory().display(), self.said());
        }
        self.end();
    }
}

/// Every living process that a httpd in `directory` left behind.
pub(crate) fn left_in(directory: &Path) -> Vec<Process> {
    process::belonging_to(OsStr::new(directory), &[])
}

/// Below the ports that the kernel gives to outgoing connections and to port 0, so that only other
/// httpds of this kind compete for it.
pub(crate) fn unused_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin at different places.
    let begin = u16::try_from(std::process::id() * 37 % u32::from(COUNT)).unwrap();
    (0..COUNT)
        .map(|_| FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of 12000 ports is unused")
}
