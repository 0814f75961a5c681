//! The harness does what the other tests believe of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::harness::error_log::Lifecycle;
use crate::harness::eventually::eventually_within;
use crate::harness::httpd::left_in;
use crate::harness::oracle::OracleChild;
use crate::harness::{
    Gracekeeper, Httpd, Mpm, Outcome, Process, RestartKind, Role, eventually, http, program,
    under_every_mpm,
};

under_every_mpm! {
    a_dropped_httpd_leaves_nothing
    a_panic_leaves_nothing
    a_held_request_keeps_its_child_alive_across_a_graceful_restart
    a_hard_restart_ends_the_old_generation_without_a_drain
    a_hard_restart_is_seen_through_a_piped_log
    five_graceful_restarts_in_a_row_are_five_generations
    every_worker_can_be_held
    a_killed_parent_leaves_orphans_which_drop_ends
    daemons_and_loggers_are_no_workers
    a_daemonised_httpd_belongs_to_init_and_leaves_nothing
    a_stopped_httpd_starts_again_in_the_same_place
    a_graceful_stop_waits_for_the_held_request
    a_broken_configuration_ends_the_parent_at_the_restart
}

fn a_dropped_httpd_leaves_nothing(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).with_cgid().with_piped_log().start();
    assert_eq!(httpd.mpm(), mpm);
    assert_eq!(http::get(httpd.address(), "/held", Duration::from_secs(5)).unwrap().status, 404);
    // Parent, two children at least, the daemon of mod_cgid and rotatelogs.
    let traces = Traces::of(&httpd);
    assert!(traces.processes.len() >= 5, "{} processes", traces.processes.len());
    drop(httpd);
    traces.assert_gone();
}

fn a_panic_leaves_nothing(mpm: Mpm) {
    let mut traces = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let httpd = Httpd::builder(mpm).start();
        let _held = httpd.hold_requests(2);
        traces = Some(Traces::of(&httpd));
        panic!("as a failing test does");
    }));
    assert!(panicked.is_err());
    traces.unwrap().assert_gone();
}

fn a_held_request_keeps_its_child_alive_across_a_graceful_restart(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let held = httpd.hold_requests(1);
    let old = httpd.oracle().living_pids();
    httpd.graceful();

    let restart = httpd.oracle().after_restarts(1).remove(0);
    assert_eq!((restart.kind, restart.generation), (RestartKind::Graceful, 1));
    assert_eq!(restart.parent, httpd.pid());
    assert!(restart.duration().unwrap() < Duration::from_secs(10));
    let straggler = eventually("only the held request's child is left of the old", || {
        let living = httpd.oracle().living_children();
        let old: Vec<u32> =
            living.iter().filter(|c| c.generation == 0).map(OracleChild::pid).collect();
        (old.len() == 1).then(|| old[0])
    });
    assert_eq!(httpd.oracle().drain_end(&old), None);
    assert_eq!(httpd.oracle().drain(0).unwrap().end, None);
    let generations = agreed_generations(&httpd);
    assert_eq!(generations.get(&straggler), Some(&0));
    assert_eq!(httpd.generation(), Some(1));

    let released = SystemTime::now();
    assert_eq!(held.release(), [Outcome::Answered(200)]);
    let end = eventually("the drain ends", || httpd.oracle().drain(0).unwrap().end);
    let drain = httpd.oracle().drain(0).unwrap();
    let last = drain.children.iter().find(|child| child.pid() == straggler).unwrap();
    assert_eq!(Some(end), last.seen.exited);
    assert_eq!(Some(end), httpd.oracle().drain_end(&old));
    assert_eq!(drain.start, restart.began);
    assert_eq!(drain.children.len(), old.len());
    // Without lingering close, which takes 2 s, and with room for a busy machine.
    let leaving = end.duration_since(released).unwrap();
    assert!(leaving < Duration::from_millis(1500), "the child took {leaving:?} to leave");
}

fn a_hard_restart_ends_the_old_generation_without_a_drain(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let old = httpd.oracle().living_pids();
    assert!(!old.is_empty());
    httpd.hard();

    let restart = httpd.oracle().after_restarts(1).remove(0);
    assert_eq!((restart.kind, restart.generation), (RestartKind::Hard, 1));
    let end = eventually("the old children are gone", || httpd.oracle().drain_end(&old));
    assert!(end <= SystemTime::now());
    assert!(httpd.oracle().drain(0).is_none());
    eventually("httpd serves the new generation", || httpd.generation() == Some(1));
    eventually("every living child is of the new generation", || {
        let living = httpd.oracle().living_children();
        !living.is_empty() && living.iter().all(|child| child.generation == 1)
    });
}

fn a_hard_restart_is_seen_through_a_piped_log(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).with_piped_log().start();
    let old = httpd.oracle().living_pids();
    httpd.hard();
    let restart = httpd.oracle().after_restarts(1).remove(0);
    assert_eq!((restart.kind, restart.generation), (RestartKind::Hard, 1));
    assert!(httpd.oracle().drain_end(&old).is_some());
    let generations = agreed_generations(&httpd);
    assert!(generations.values().all(|generation| *generation == 1), "{generations:?}");
    httpd.graceful_times(1, Duration::ZERO);
    assert_eq!(httpd.oracle().restarts()[1].generation, 2);
    assert_eq!(httpd.oracle().restarts()[1].kind, RestartKind::Graceful);
}

fn five_graceful_restarts_in_a_row_are_five_generations(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    httpd.graceful_times(5, Duration::from_millis(20));

    let restarts = httpd.oracle().restarts();
    assert!(restarts.iter().all(|restart| restart.kind == RestartKind::Graceful));
    assert!(restarts.iter().all(|restart| restart.resumed.is_some()));
    let generations: Vec<u32> = restarts.iter().map(|restart| restart.generation).collect();
    assert_eq!(generations, [1, 2, 3, 4, 5]);
    eventually("httpd counts them alike", || httpd.generation() == Some(5));
    let drain = eventually("the first generation is gone", || {
        httpd.oracle().drain(0).filter(|drain| drain.end.is_some())
    });
    assert!(!drain.children.is_empty());
}

fn every_worker_can_be_held(mpm: Mpm) {
    let httpd = Httpd::builder(mpm)
        .start_servers(2)
        .server_limit(2)
        .max_request_workers(if mpm == Mpm::Prefork { 2 } else { 10 });
    let httpd = httpd.start();
    let first = httpd.hold_requests(1);
    let others = httpd.hold_all_workers();
    assert_eq!(httpd.generation(), None, "a worker was free to answer");
    assert_eq!(first.release(), [Outcome::Answered(200)]);
    eventually("a worker is free again", || httpd.generation() == Some(0));
    drop(others);
}

fn a_killed_parent_leaves_orphans_which_drop_ends(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).with_scoreboard_file().start();
    eventually("children serve", || httpd.generation().is_some());
    let traces = Traces::of(&httpd);
    httpd.kill_parent();
    assert_eq!(httpd.oracle().living_children().len(), traces.processes.len() - 1);
    assert_eq!(httpd.generation(), Some(0), "orphans serve on");
    drop(httpd);
    traces.assert_gone();
}

fn daemons_and_loggers_are_no_workers(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).with_cgid().with_piped_log().start();
    let roles = || -> Vec<Role> {
        let living = httpd.oracle().processes();
        living.iter().filter(|seen| seen.exited.is_none()).map(|seen| seen.role).collect()
    };
    let count = |role: Role| roles().iter().filter(|&&is| is == role).count();
    let settled = || (count(Role::Parent), count(Role::Cgid), count(Role::Helper)) == (1, 1, 1);
    for generation in 1..=3 {
        eventually("each process has its role", settled);
        agreed_generations(&httpd);
        httpd.graceful();
        httpd.oracle().after_restarts(generation);
        eventually("the new generation serves", || {
            httpd.generations_of_children().is_some_and(|workers| {
                workers.values().all(|of| usize::try_from(*of).unwrap() == generation)
            })
        });
    }
    eventually("each process has its role", settled);
    let drain = httpd.oracle().drain(0).unwrap();
    assert!(drain.end.is_some(), "an idle generation has left");
    let daemons: Vec<u32> = httpd
        .oracle()
        .processes()
        .iter()
        .filter(|seen| matches!(seen.role, Role::Cgid | Role::Helper))
        .map(|seen| seen.identity.pid)
        .collect();
    assert!(daemons.len() >= 8, "a daemon and a logger for each of four generations");
    assert!(httpd.oracle().children().iter().all(|child| !daemons.contains(&child.pid())));
}

fn a_daemonised_httpd_belongs_to_init_and_leaves_nothing(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).daemonised().start();
    let parent = procfs::process::Process::new(httpd.pid().cast_signed()).unwrap();
    assert_ne!(parent.stat().unwrap().ppid.cast_unsigned(), std::process::id());
    assert_eq!(httpd.exit_status(), None);
    let held = httpd.hold_requests(1);
    httpd.graceful();
    assert_eq!(httpd.oracle().after_restarts(1)[0].kind, RestartKind::Graceful);
    assert_eq!(held.release(), [Outcome::Answered(200)]);
    eventually("the drain ends", || httpd.oracle().drain(0).unwrap().end);
    let traces = Traces::of(&httpd);
    drop(httpd);
    traces.assert_gone();
}

fn a_stopped_httpd_starts_again_in_the_same_place(mpm: Mpm) {
    let mut httpd = Httpd::builder(mpm).start();
    let first = httpd.pid();
    httpd.stop();
    let status = eventually("the parent is reaped", || httpd.exit_status());
    assert!(status.success());
    assert!(!httpd.parent_is_alive());
    assert!(!httpd.pid_file().exists());
    let entries = httpd.error_log().entries();
    let stop = entries.iter().find(|entry| entry.lifecycle() == Some(Lifecycle::Stopped)).unwrap();
    assert!(stop.line.ends_with("caught SIGTERM, shutting down"), "{}", stop.line);
    eventually("the oracle saw every process end", || {
        httpd.oracle().processes().iter().all(|seen| seen.exited.is_some())
    });

    httpd.start_again();
    let starts = httpd.oracle().starts();
    assert_eq!(starts.iter().map(|start| start.parent).collect::<Vec<_>>(), [first, httpd.pid()]);
    assert!(starts[0].resumed < starts[1].resumed);
    assert!(httpd.oracle().restarts().is_empty());
    httpd.graceful_times(1, Duration::ZERO);
    assert_eq!(httpd.oracle().restarts()[0].generation, 1);
}

fn a_graceful_stop_waits_for_the_held_request(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let held = httpd.hold_requests(1);
    httpd.graceful_stop();
    eventually("nobody listens", || TcpStream::connect(httpd.address()).is_err());
    assert!(httpd.parent_is_alive());
    assert_eq!(held.release(), [Outcome::Answered(200)]);
    eventually("the parent ends", || !httpd.parent_is_alive());
}

fn a_broken_configuration_ends_the_parent_at_the_restart(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    httpd.rewrite_config(|text| text + "NoSuchDirective\n");
    httpd.graceful();
    let status = eventually("the parent is reaped", || httpd.exit_status());
    assert_eq!(status.code(), Some(1));
    let restart = httpd.oracle().restarts().remove(0);
    assert_eq!((restart.kind, restart.resumed), (RestartKind::Graceful, None));
    assert!(httpd.error_log().text().contains("AH00526"));
}

#[test]
fn a_hard_restart_cuts_a_held_request() {
    let httpd = Httpd::builder(Mpm::Prefork).start();
    let held = httpd.hold_requests(1);
    httpd.hard();
    httpd.oracle().after_restarts(1);
    eventually("the request is cut", || held.ended() == 1);
    assert_eq!(held.release(), [Outcome::Cut]);
}

#[test]
fn signals_without_a_pause_are_merged_by_httpd() {
    let httpd = Httpd::builder(Mpm::Event).log_level("warn").threads_per_child(2).start();
    httpd.signal_times(Signal::USR1, 5, Duration::ZERO);
    let restarts = httpd.oracle().after_restarts(1);
    assert!(restarts.len() <= 5);
    eventually("httpd counts what the log says", || {
        httpd.generation().is_some_and(|generation| {
            usize::try_from(generation).unwrap() == httpd.oracle().completed_restarts().len()
        })
    });
}

#[test]
fn a_renamed_log_is_read_on() {
    let httpd = Httpd::builder(Mpm::Event).extra("ServerAdmin nobody@localhost").start();
    for count in 1..=3 {
        httpd.error_log().rotate();
        httpd.graceful_times(1, Duration::ZERO);
        assert!(httpd.error_log().path().exists());
        assert_eq!(httpd.oracle().restarts().len(), count);
    }
    let text = httpd.error_log().text();
    assert_eq!(text.matches("resuming normal operations").count(), 4);
}

#[test]
fn two_httpds_do_not_see_each_other() {
    let one = Httpd::builder(Mpm::Event).start();
    let other = Httpd::builder(Mpm::Prefork).start();
    one.graceful_times(2, Duration::ZERO);
    other.hard();
    assert_eq!(other.oracle().after_restarts(1).len(), 1);
    assert_eq!(one.oracle().restarts().len(), 2);
    let traces = Traces::of(&one);
    drop(one);
    traces.assert_gone();
    eventually("the other serves on", || other.generation() == Some(1));
}

#[test]
#[should_panic(expected = "in vain: the impossible")]
fn waiting_in_vain_says_for_what() {
    eventually_within(Duration::from_millis(10), "the impossible", || false);
}

#[test]
fn gracekeeper_is_run_scraped_and_killed() {
    let exposition = ExpositionServer::start();
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd)
        .watch("interval = \"100ms\"")
        .server("error_log = \"none\"")
        .config("[limits]\nrestart_timeout = \"5s\"")
        .arguments(&["--log.level", "debug"])
        .program(&exposition.program())
        .run_by_nobody()
        .start();
    assert_eq!(gracekeeper.address(), exposition.address);
    assert!(gracekeeper.log().contains("--web.listen-address 127.0.0.1:0 --log.level debug"));
    assert!(gracekeeper.state_directory().is_dir());
    let text = fs::read_to_string(gracekeeper.configuration_file()).unwrap();
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["watch"]["interval"].as_str(), Some("100ms"));
    assert_eq!(table["server"][0]["pid_file"].as_str(), httpd.pid_file().to_str());
    assert_eq!(table["limits"]["restart_timeout"].as_str(), Some("5s"));

    let metrics = gracekeeper.wait_until("three scrapes", |metrics| {
        metrics.value("scrapes_total", &[]).is_some_and(|scrapes| scrapes >= 3.0)
    });
    assert_eq!(metrics.value("scrapes_total", &[]), Some(3.0));
    assert_eq!(gracekeeper.get("/nothing").status, 404);
    let process = Process::open(gracekeeper.pid()).unwrap();
    drop(gracekeeper);
    assert!(!process.is_alive());
}

#[test]
fn gracekeeper_ends_when_asked() {
    let exposition = ExpositionServer::start();
    let gracekeeper = Gracekeeper::discovering().program(&exposition.program()).start();
    gracekeeper.signal(Signal::HUP);
    eventually("it takes the signal", || gracekeeper.log().contains("hangup"));
    assert_eq!(gracekeeper.end().code(), Some(3));
}

/// Of each living child, when `mod_status` and the oracle name the same children.
fn agreed_generations(httpd: &Httpd) -> BTreeMap<u32, u32> {
    eventually("httpd and the oracle agree on the children", || {
        let by_httpd = httpd.generations_of_children();
        let children = httpd.oracle().living_children();
        let by_oracle = children.iter().map(|child| (child.pid(), child.generation)).collect();
        by_httpd.filter(|by_httpd| *by_httpd == by_oracle)
    })
}

/// What a httpd would leave behind.
struct Traces {
    processes: Vec<Process>,
    directory: PathBuf,
    segments: Vec<PathBuf>,
}

impl Traces {
    fn of(httpd: &Httpd) -> Self {
        Self {
            processes: httpd.processes(),
            directory: httpd.directory().to_owned(),
            segments: segments(httpd.pid()),
        }
    }

    fn assert_gone(&self) {
        for process in &self.processes {
            assert!(!process.is_alive(), "{:?} is alive", process.identity());
            eventually("each process is reaped", || {
                Process::open(process.pid()).is_none_or(|it| it.identity() != process.identity())
            });
        }
        assert_eq!(left_in(&self.directory).len(), 0);
        assert!(!self.directory.exists());
        assert!(self.segments.iter().all(|segment| !segment.exists()), "{:?}", self.segments);
    }
}

fn segments(pid: u32) -> Vec<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let names = maps.lines().filter_map(|line| line.find("/dev/shm/").map(|at| &line[at..]));
    names.map(PathBuf::from).collect()
}

/// Answers as gracekeeper does, from a thread; its program only names the address.
struct ExpositionServer {
    address: std::net::SocketAddr,
    directory: tempfile::TempDir,
}

impl ExpositionServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut scrapes = 0;
            for mut stream in listener.incoming().flatten() {
                answer(&mut stream, &mut scrapes);
            }
        });
        let directory = tempfile::TempDir::with_prefix("exposition-").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { address, directory }
    }

    fn program(&self) -> PathBuf {
        let program = self.directory.path().join("program");
        let address = self.address;
        let script = format!(
            "#!/bin/sh\n\
             trap 'echo hangup >&2' HUP\n\
             trap 'exit 3' TERM\n\
             echo \"level=debug msg=arguments $*\" >&2\n\
             echo 'level=info msg=\"listening\" address={address}' >&2\n\
             while :; do read -r line < {fifo}; done\n",
            fifo = self.fifo().display(),
        );
        program::write_script(&program, &script);
        program
    }

    /// Blocks its reader: nobody ever writes to it.
    fn fifo(&self) -> PathBuf {
        let path: &Path = self.directory.path();
        let fifo = path.join("fifo");
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        fifo
    }
}

fn answer(stream: &mut TcpStream, scrapes: &mut u32) {
    use std::io::{Read as _, Write as _};

    let mut request = [0; 1024];
    let length = stream.read(&mut request).unwrap();
    let (status, body) = if request[..length].starts_with(b"GET /metrics ") {
        *scrapes += 1;
        ("200 OK", format!("# TYPE scrapes_total counter\nscrapes_total {scrapes}\n"))
    } else {
        ("404 Not Found", String::new())
    };
    write!(stream, "HTTP/1.0 {status}\r\nConnection: close\r\n\r\n{body}").unwrap();
}
