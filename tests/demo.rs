//! The demonstration, as somebody runs it who has just installed httpd.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::harness::{Process, eventually, http, metrics::Metrics};

const GRACEKEEPER: &str = env!("CARGO_BIN_EXE_gracekeeper");
const TIMEOUT: Duration = Duration::from_secs(10);

/// A demonstration in a temporary directory of its own.
struct Demonstration {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it said first, up to the line with the address of its metrics.
    introduction: String,
    temporary: TempDir,
}

impl Demonstration {
    fn start(arguments: &[&str]) -> Self {
        let temporary = TempDir::with_prefix("demo-").unwrap();
        // httpd's children are another user's when the parent is root's.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(temporary.path(), open).unwrap();
        let mut child = command(temporary.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(temporary.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut introduction = String::new();
        while !introduction.contains("/metrics") {
            let read = stdout.read_line(&mut introduction).unwrap();
            let stderr = fs::read_to_string(temporary.path().join("stderr")).unwrap();
            assert!(read > 0, "it ended: {introduction}{stderr}");
        }
        Self { child, stdout, introduction, temporary }
    }

    fn metrics_address(&self) -> std::net::SocketAddr {
        let (before, _) = self.introduction.split_once("/metrics").unwrap();
        before.rsplit_once("http://").unwrap().1.parse().unwrap()
    }

    /// Scrapes until the condition holds.
    #[track_caller]
    fn wait_until(&self, what: &str, condition: impl Fn(&Metrics) -> bool) -> Metrics {
        let address = self.metrics_address();
        eventually(what, || {
            let answer = http::get(address, "/metrics", TIMEOUT).ok()?;
            Some(Metrics::parse(&answer.body)).filter(&condition)
        })
    }

    /// The private directory.
    fn directory(&self) -> PathBuf {
        let entries = fs::read_dir(self.temporary.path()).unwrap();
        let mut folders = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        folders.next().expect("a demonstration has a directory")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn ends(&mut self) -> ExitStatus {
        eventually("the demonstration ends", || self.child.try_wait().unwrap())
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.temporary.path().join("stderr")).unwrap()
    }

    /// Once it has ended.
    #[track_caller]
    fn assert_nothing_is_left(&self) {
        eventually("every process is gone", || processes_of(self.temporary.path()).is_empty());
        let left: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "only stderr is left: {left:?}");
    }
}

impl Drop for Demonstration {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the demonstration:\n{}", self.stderr());
        }
        if self.child.try_wait().unwrap().is_none() {
            kill_process(self.pid(), Signal::KILL).unwrap();
            self.child.wait().unwrap();
        }
        // Each is a process group's first, or in that of httpd.
        for process in processes_of(self.temporary.path()) {
            let pid = Pid::from_raw(process.pid().cast_signed()).unwrap();
            let _: rustix::io::Result<()> = kill_process_group(pid, Signal::KILL);
            process.signal(Signal::KILL);
        }
    }
}

fn command(temporary: &Path) -> Command {
    let mut command = Command::new(GRACEKEEPER);
    command.args(["demo", "--web.listen-address", "127.0.0.1:0"]).env("TMPDIR", temporary);
    command
}

/// Every process with this directory in its command line.
fn processes_of(directory: &Path) -> Vec<Process> {
    let directory = directory.as_os_str().as_encoded_bytes();
    procfs::process::all_processes()
        .unwrap()
        .flatten()
        .filter(|process| {
            let words = process.cmdline().unwrap_or_default();
            let holds = |word: &String| {
                OsStr::new(word)
                    .as_encoded_bytes()
                    .windows(directory.len())
                    .any(|part| part == directory)
            };
            words.iter().any(holds)
        })
        .filter_map(|process| Process::open(process.pid().cast_unsigned()))
        .collect()
}

fn restarts(metrics: &Metrics, kind: &str) -> Option<f64> {
    metrics.value("httpd_restarts_total", &[("server", "demo"), ("type", kind)])
}

#[test]
fn every_kind_of_restart_is_shown_with_its_right_type_and_nothing_is_left() {
    let mut demonstration = Demonstration::start(&["--every", "1s"]);
    let metrics = demonstration.wait_until("each kind of restart is counted", |metrics| {
        restarts(metrics, "graceful") >= Some(2.0)
            && restarts(metrics, "hard") >= Some(1.0)
            && restarts(metrics, "full") >= Some(1.0)
    });
    assert_eq!(restarts(&metrics, "unknown"), Some(0.0));
    assert_eq!(metrics.value("gracekeeper_contradictions_total", &[]), Some(0.0));
    // An old child may leave so late after its last request that the hard restart ends it.
    let drains = metrics.total("httpd_drain_duration_seconds_sum", &[]);
    assert!(drains > 0.4, "a drain lasts as long as its download: {drains} s");
    kill_process(demonstration.pid(), Signal::TERM).unwrap();
    let status = demonstration.ends();
    let mut said = String::new();
    while demonstration.stdout.read_line(&mut said).unwrap() > 0 {}
    assert_eq!(status.code(), Some(0), "{said}");
    for kind in ["a graceful restart", "slow download", "a hard restart", "a full restart"] {
        assert!(said.contains(kind), "{kind}: {said}");
    }
    demonstration.assert_nothing_is_left();
}

#[test]
fn sigint_and_sighup_end_it_too_at_any_time() {
    for signal in [Signal::INT, Signal::HUP] {
        let mut demonstration = Demonstration::start(&[]);
        kill_process(demonstration.pid(), signal).unwrap();
        assert_eq!(demonstration.ends().code(), Some(0));
        demonstration.assert_nothing_is_left();
    }
}

#[test]
fn an_httpd_that_dies_ends_it_with_a_message() {
    let mut demonstration = Demonstration::start(&[]);
    demonstration.wait_until("httpd is seen", |metrics| {
        metrics.value("httpd_up", &[("server", "demo")]) == Some(1.0)
    });
    let pid = fs::read_to_string(demonstration.directory().join("run/httpd.pid")).unwrap();
    Process::open(pid.trim().parse().unwrap()).unwrap().signal(Signal::KILL);
    assert_eq!(demonstration.ends().code(), Some(70));
    let stderr = demonstration.stderr();
    assert!(stderr.contains("httpd has ended by itself, signal: 9"), "{stderr}");
    assert!(stderr.contains("resuming normal operations"), "its last words: {stderr}");
    demonstration.assert_nothing_is_left();
}

#[test]
fn a_watching_process_that_cannot_be_ends_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut demonstration = Demonstration::start(&["--web.listen-address", &address]);
    assert_eq!(demonstration.ends().code(), Some(70));
    let stderr = demonstration.stderr();
    assert!(stderr.contains(&address), "{stderr}");
    assert!(stderr.contains("`gracekeeper run` has ended by itself, exit status: 70"), "{stderr}");
    demonstration.assert_nothing_is_left();
}

#[test]
fn what_names_another_server_or_no_pace_is_refused() {
    let temporary = TempDir::new().unwrap();
    for (arguments, words) in [
        (["--httpd.pid-file", "/run/httpd.pid"], "--httpd.pid-file cannot be given"),
        (["--config.file", "/etc/hosts"], "--config.file cannot be given"),
        (["--every", "1"], "must be a duration such as 20s"),
        (["--every", "99ms"], "at least 100ms"),
    ] {
        let output = command(temporary.path()).args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
