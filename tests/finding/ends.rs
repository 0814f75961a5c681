//! How parents end, or seem to, and what gracekeeper makes of it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, getpgid};
use tempfile::TempDir;

use super::{
    Kept, discovering, graceful_is_counted, is_down, is_up, label, named, restarts, serves, shell,
    start, stays, stopped, stops, up,
};
use crate::harness::{Gracekeeper, Httpd, Mpm, Process, eventually};

#[test]
fn a_killed_parent_is_down_at_once_and_its_children_are_orphans() {
    let httpd = start();
    // A look by the clock alone would come a minute later.
    let path = httpd.pid_file();
    let gracekeeper = Gracekeeper::discovering()
        .watch("interval = \"60s\"")
        .arguments(&["--httpd.pid-file", path.to_str().unwrap()])
        .start();
    is_up(&gracekeeper, "main");
    httpd.kill_parent();
    let metrics = is_down(&gracekeeper, "main");
    assert!(metrics.value("httpd_orphaned_children", &[]).unwrap() >= 1.0);
    assert_eq!(gracekeeper.get("/-/healthy").status, 200);
}

#[test]
fn a_parent_that_nobody_reaps_is_down() {
    let httpd = stopped();
    let starter = "\"$@\" & exec sleep 600";
    let _starter = shell(&httpd, starter, &httpd.configuration_file());
    serves(&httpd);
    let pid: u32 = fs::read_to_string(httpd.pid_file()).unwrap().trim().parse().unwrap();
    let (by_pid_file, discovering) = (named(&httpd.pid_file()), discovering());
    let name = label(&httpd);
    is_up(&by_pid_file, "main");
    is_up(&discovering, &name);
    Process::open(pid).unwrap().signal(Signal::KILL);
    is_down(&by_pid_file, "main");
    is_down(&discovering, &name);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "nobody has reaped it: {stat}");
    stays(&by_pid_file, "main", Some(0.0));
    stays(&discovering, &name, Some(0.0));
    // Nor is it found by who comes now.
    stays(&named(&httpd.pid_file()), "main", Some(0.0));
}

#[test]
fn a_graceful_stop_is_told_from_a_stop() {
    let mut httpd = start();
    let (gracekeeper, name) = (discovering(), label(&httpd));
    is_up(&gracekeeper, &name);
    let held = httpd.hold_requests(1);
    httpd.graceful_stop();
    eventually("the pid file is gone", || !httpd.pid_file().exists());
    stays(&gracekeeper, &name, Some(1.0));
    held.release();
    gracekeeper.wait_until("the graceful stop is counted", |metrics| {
        stops(metrics, &name, "graceful_stop") == Some(1.0)
    });
    httpd.start_again();
    is_up(&gracekeeper, &name);
    httpd.stop();
    gracekeeper
        .wait_until("the stop is counted", |metrics| stops(metrics, &name, "stop") == Some(1.0));
    assert_eq!(up(&gracekeeper.scrape(), &name), Some(0.0));
}

#[test]
fn a_parent_that_stops_gracefully_stays_the_parent_beside_its_successor() {
    let mut httpd = start();
    let (gracekeeper, name) = (discovering(), label(&httpd));
    is_up(&gracekeeper, &name);
    let held = httpd.hold_requests(1);
    httpd.graceful_stop();
    eventually("the pid file is gone", || !httpd.pid_file().exists());
    httpd.start_again();
    stays(&gracekeeper, &name, Some(1.0));
    assert_eq!(restarts(&gracekeeper.scrape(), &name, "full"), Some(0.0));
    // Who comes now sees both, and that the younger one serves.
    let later = discovering();
    is_up(&later, &name);
    held.release();
    gracekeeper.wait_until("the successor is the parent", |metrics| {
        up(metrics, &name) == Some(1.0) && restarts(metrics, &name, "full") == Some(1.0)
    });
    let metrics = gracekeeper.scrape();
    assert_eq!(metrics.total("httpd_stops_total", &[("server", &name)]), 1.0);
    assert_eq!(restarts(&metrics, &name, "graceful"), Some(0.0), "the new pid file is no restart");
    assert_eq!(restarts(&metrics, &name, "unknown"), Some(0.0));
    stays(&later, &name, Some(1.0));
    graceful_is_counted(&httpd, &later, &name);
}

#[test]
fn a_suspended_parent_is_up_and_its_signal_waits() {
    let httpd = start();
    let gracekeeper = named(&httpd.pid_file());
    is_up(&gracekeeper, "main");
    httpd.signal(Signal::STOP);
    httpd.signal(Signal::USR1);
    stays(&gracekeeper, "main", Some(1.0));
    assert_eq!(restarts(&gracekeeper.scrape(), "main", "graceful"), Some(0.0));
    httpd.signal(Signal::CONT);
    gracekeeper.wait_until("the restart is counted when it is taken", |metrics| {
        restarts(metrics, "main", "graceful") == Some(1.0)
    });
}

#[test]
fn a_prefork_parent_that_signals_its_process_group_does_not_meet_gracekeeper_there() {
    let httpd = Httpd::builder(Mpm::Prefork).start();
    let group = i32::try_from(httpd.pid()).unwrap();
    let directory = TempDir::new().unwrap();
    let log = directory.path().join("log");
    let configuration = directory.path().join("gracekeeper.toml");
    let state = directory.path().join("state");
    fs::write(&configuration, format!("[watch]\nstate_dir = \"{}\"\n", state.display())).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_gracekeeper"))
        .args(["run", "--web.listen-address", "127.0.0.1:0", "--httpd.pid-file"])
        .arg(httpd.pid_file())
        .arg("--config.file")
        .arg(configuration)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .process_group(group)
        .spawn()
        .unwrap();
    let mut gracekeeper = Kept(child);
    let said = |what: &str| fs::read_to_string(&log).unwrap().contains(what);
    eventually("httpd is found", || said("msg=\"up\"") || said("msg=up"));
    let own = getpgid(Some(Pid::from_child(&gracekeeper.0))).unwrap();
    assert_ne!(own.as_raw_nonzero().get(), group, "it has left httpd's group");
    httpd.hard();
    eventually("the restart is counted", || said("restarted"));
    assert!(!said("configuration read again"), "the group's SIGHUP has not met it");
    httpd.stop();
    eventually("the stop is seen", || said("stopped"));
    assert_eq!(gracekeeper.0.try_wait().unwrap(), None, "the group's SIGTERM has not met it");
}
