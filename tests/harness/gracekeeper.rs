//! The program under test, as an operator runs it, and what it shows.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Gid, Pid, Signal, Uid, kill_process, kill_process_group};
use tempfile::TempDir;

use super::eventually::{eventually, eventually_within};
use super::http::{self, Response};
use super::httpd::Httpd;
use super::metrics::Metrics;
use super::program;

const NOBODY: u32 = 65534;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A gracekeeper to be.
#[derive(Clone)]
pub(crate) struct Builder {
    program: PathBuf,
    watch: String,
    server: String,
    configuration: String,
    arguments: Vec<String>,
    user: User,
    state: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    OfTheTest,
    Nobody,
}

impl Builder {
    fn new(server: String) -> Self {
        Self {
            program: PathBuf::from(env!("CARGO_BIN_EXE_gracekeeper")),
            watch: String::new(),
            server,
            configuration: String::new(),
            arguments: Vec::new(),
            user: User::OfTheTest,
            state: None,
        }
    }

    /// Lines of the table `[watch]`; the state directory is set already.
    pub(crate) fn watch(mut self, lines: &str) -> Self {
        self.watch.push_str(lines);
        self.watch.push('\n');
        self
    }

    /// Lines of the table `[[server]]` of the httpd that is watched.
    pub(crate) fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self.server.push('\n');
        self
    }

    /// Further tables.
    pub(crate) fn config(mut self, tables: &str) -> Self {
        self.configuration.push_str(tables);
        self.configuration.push('\n');
        self
    }

    /// Flags after `run --config.file FILE --web.listen-address 127.0.0.1:0`.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// As `nobody` if the test runs as root; else nothing changes.
    pub(crate) fn run_by_nobody(self) -> Self {
        let user = if rustix::process::geteuid().is_root() { User::Nobody } else { self.user };
        Self { user, ..self }
    }

    /// With the state directory of another one instead of an own one.
    pub(crate) fn sharing_the_state_of(self, other: &Gracekeeper) -> Self {
        Self { state: Some(other.state_directory()), ..self }
    }

    /// Another program in its place, with the same arguments.
    pub(crate) fn program(self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self }
    }

    /// Returns when it listens; panics with its log if it ends before.
    pub(crate) fn start(self) -> Gracekeeper {
        let directory = TempDir::with_prefix("gracekeeper-").unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        self.write_configuration(directory.path());
        self.launch(Arc::new(directory))
    }

    fn launch(self, directory: Arc<TempDir>) -> Gracekeeper {
        let mut command = Command::new(self.program_in(directory.path()));
        command
            .arg("run")
            .arg("--config.file")
            .arg(directory.path().join("gracekeeper.toml"))
            .args(["--web.listen-address", "127.0.0.1:0"])
            .args(&self.arguments)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // It is killed as a group: it may have started a reader.
            .process_group(0);
        if self.user == User::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command.spawn().unwrap();
        let log = Log::capture(child.stderr.take().unwrap());
        let mut gracekeeper = Gracekeeper { child, log, address: None, directory, builder: self };
        gracekeeper.address = Some(eventually("gracekeeper listens", || {
            let address = listening_address(&gracekeeper.log());
            let ended = gracekeeper.child.try_wait().unwrap();
            assert!(address.is_some() || ended.is_none(), "gracekeeper ended: {ended:?}");
            address
        }));
        gracekeeper
    }

    fn write_configuration(&self, directory: &Path) {
        let state = directory.join("state");
        fs::create_dir(&state).unwrap();
        if self.user == User::Nobody {
            let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            rustix::fs::chown(&state, Some(uid), Some(gid)).unwrap();
        }
        let mut text = String::new();
        let state = self.state.as_ref().unwrap_or(&state).display();
        let Self { watch, server, configuration, .. } = self;
        write!(text, "[watch]\nstate_dir = \"{state}\"\n{watch}\n{server}\n{configuration}")
            .unwrap();
        fs::write(directory.join("gracekeeper.toml"), text).unwrap();
    }

    /// A copy where `nobody` may execute it: the build directory may be anybody's own.
    fn program_in(&self, directory: &Path) -> PathBuf {
        match self.user {
            User::OfTheTest => self.program.clone(),
            User::Nobody => {
                let copy = directory.join("gracekeeper");
                if !copy.exists() {
                    program::copy(&self.program, &copy);
                }
                copy
            }
        }
    }
}

/// A running one. It is killed on drop, and prints its log if that is a panic's.
pub(crate) struct Gracekeeper {
    child: Child,
    log: Log,
    address: Option<SocketAddr>,
    directory: Arc<TempDir>,
    builder: Builder,
}

/// What one that is gone left behind.
pub(crate) struct Left {
    directory: Arc<TempDir>,
    builder: Builder,
}

impl Left {
    /// Another one, with the same configuration and the same state directory.
    pub(crate) fn start_again(self) -> Gracekeeper {
        self.builder.launch(self.directory)
    }

    pub(crate) fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn configuration_file(&self) -> PathBuf {
        self.directory.path().join("gracekeeper.toml")
    }
}

impl Gracekeeper {
    /// With this httpd as its only server, named `main`.
    pub(crate) fn watching(httpd: &Httpd) -> Builder {
        Builder::new(format!(
            "[[server]]\nname = \"main\"\npid_file = \"{}\"\n",
            httpd.pid_file().display()
        ))
    }

    /// With no server configured: it finds what runs.
    pub(crate) fn discovering() -> Builder {
        Builder::new(String::new())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("a gracekeeper that is handed out listens")
    }

    pub(crate) fn configuration_file(&self) -> PathBuf {
        self.directory.path().join("gracekeeper.toml")
    }

    pub(crate) fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Everything that it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(self.address(), path, TIMEOUT)
            .unwrap_or_else(|error| panic!("GET {path} of gracekeeper: {error}"))
    }

    #[track_caller]
    pub(crate) fn scrape(&self) -> Metrics {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.body);
        Metrics::parse(&response.body)
    }

    /// Scrapes until the condition holds, and returns that scrape; panics after 30 s.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Metrics) -> bool) -> Metrics {
        eventually(what, || Some(self.scrape()).filter(&condition))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Our own child is reaped in `end` and `drop` only, so that its pid is still its own.
        kill_process(self.process_id(), signal).unwrap();
    }

    /// Asks it to end, and returns how it did.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        eventually_within(TIMEOUT, "gracekeeper ends", || self.child.try_wait().unwrap())
    }

    /// Kills it without a warning.
    pub(crate) fn kill(mut self) -> Left {
        let _: rustix::io::Result<()> = kill_process_group(self.process_id(), Signal::KILL);
        self.child.wait().unwrap();
        self.left()
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn leave(mut self) -> Left {
        self.signal(Signal::TERM);
        eventually_within(TIMEOUT, "gracekeeper ends", || self.child.try_wait().unwrap());
        self.left()
    }

    fn left(&self) -> Left {
        Left { directory: Arc::clone(&self.directory), builder: self.builder.clone() }
    }

    fn process_id(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Gracekeeper {
    fn drop(&mut self) {
        // While it is not reaped, its process group is its own.
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            let _: rustix::io::Result<()> = kill_process_group(self.process_id(), Signal::KILL);
            let _: std::io::Result<ExitStatus> = self.child.wait();
        }
        if thread::panicking() {
            let end = ended.map_or_else(String::new, |status| {
                format!(", ended with {:?} by {:?}", status.code(), status.signal())
            });
            eprintln!("gracekeeper {}{end}:\n{}", self.pid(), self.log());
        }
    }
}

/// Reads until the program and all that inherited its stderr have ended, so that none blocks.
struct Log {
    text: Arc<Mutex<String>>,
    _reader: JoinHandle<()>,
}

impl Log {
    fn capture(stderr: impl Read + Send + 'static) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let written = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = Vec::new();
            while stderr.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, _reader: reader }
    }
}

fn listening_address(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("msg=\"listening\""))?;
    let (_, address) = line.split_once("address=")?;
    address.split_ascii_whitespace().next()?.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_log() {
        let log = "level=info msg=\"starting\"\n\
                   ts=1 level=info msg=\"listening\" address=127.0.0.1:43121\n";
        assert_eq!(listening_address(log), Some("127.0.0.1:43121".parse().unwrap()));
        assert_eq!(listening_address("msg=\"starting\"\n"), None);
    }
}
