//! What gracekeeper knows after a restart of its own: nothing invented, nothing lost.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    time::SystemTime,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, under_every_mpm};

under_every_mpm! {
    a_drain_outlives_the_gracekeeper_that_saw_it_begin
    a_restart_that_nobody_saw_is_told_with_its_type
    a_stop_and_a_start_that_nobody_saw_are_a_full_restart
}

fn seen_serving(httpd: &Httpd, gracekeeper: &Gracekeeper) {
    gracekeeper.wait_until("the server is seen serving", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
            && metrics.value("httpd_children", &[("generation", "current")])
                == Some(f64::from(u32::try_from(httpd.oracle().living_pids().len()).unwrap()))
    });
}

fn watched(mpm: Mpm) -> (Httpd, Gracekeeper) {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    seen_serving(&httpd, &gracekeeper);
    (httpd, gracekeeper)
}

/// What is kept of the only server.
fn kept(state: &Path) -> Option<Value> {
    let text = fs::read_to_string(state.join("servers.json")).ok()?;
    let document: Value = serde_json::from_str(&text).expect("it is whole at any moment");
    document["servers"].get(0).cloned()
}

/// Whether anything is kept of the server of this name, whatever else was discovered.
fn is_kept(state: &Path, name: &str) -> bool {
    let text = fs::read_to_string(state.join("servers.json")).unwrap_or_default();
    text.contains(&format!("\"name\":\"{name}\""))
}

fn story(state: &Path) -> Option<Value> {
    Some(kept(state)?["memory"]["life"]["story"].clone())
}

fn restarts(metrics: &Metrics) -> [f64; 4] {
    ["graceful", "hard", "full", "unknown"]
        .map(|kind| metrics.value("httpd_restarts_total", &[("type", kind)]).unwrap())
}

fn stops(metrics: &Metrics) -> f64 {
    metrics.total("httpd_stops_total", &[])
}

fn drains(metrics: &Metrics, outcome: &str) -> f64 {
    let labels = [("outcome", outcome)];
    metrics.histogram("httpd_drain_duration_seconds", &labels).unwrap().count
}

fn a_drain_outlives_the_gracekeeper_that_saw_it_begin(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    let held = httpd.hold_requests(1);
    httpd.graceful();
    let metrics = gracekeeper.wait_until("the drain is seen, and who serves instead", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
            && metrics.value("httpd_serving", &[]) == Some(1.0)
            && metrics.value("httpd_generation", &[]) == Some(1.0)
    });
    let began = metrics.value("httpd_drain_start_timestamp_seconds", &[]);
    let last = metrics.value("httpd_last_restart_timestamp_seconds", &[("type", "graceful")]);
    let state = gracekeeper.state_directory();
    eventually("the drain is kept", || {
        story(&state).is_some_and(|story| {
            story["drains"]["open"].get(0).is_some() && !story["old"].as_array().unwrap().is_empty()
        })
    });
    let gracekeeper = gracekeeper.kill().start_again();
    let metrics = gracekeeper
        .wait_until("it has looked", |metrics| metrics.value("httpd_up", &[]) == Some(1.0));
    assert_eq!(metrics.value("httpd_drain_in_progress", &[]), Some(1.0));
    assert_eq!(metrics.value("httpd_drain_start_timestamp_seconds", &[]), began);
    assert_eq!(restarts(&metrics), [0.0; 4], "it was counted already");
    let labels = [("type", "graceful")];
    assert_eq!(metrics.value("httpd_last_restart_timestamp_seconds", &labels), last);
    assert_eq!(metrics.value("httpd_last_restart_successful", &[]), Some(1.0));
    assert_eq!(drains(&metrics, "drained"), 0.0);
    held.release();
    let metrics = gracekeeper.wait_until("the drain is over", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
    });
    assert_eq!(drains(&metrics, "drained"), 1.0);
    assert_eq!(drains(&metrics, "interrupted"), 0.0);
    assert_eq!(restarts(&metrics), [0.0; 4]);
    assert_eq!(stops(&metrics), 0.0);
}

fn a_restart_that_nobody_saw_is_told_with_its_type(mpm: Mpm) {
    let (httpd, mut gracekeeper) = watched(mpm);
    let kinds = [("graceful", [1.0, 0.0, 0.0, 0.0]), ("hard", [0.0, 1.0, 0.0, 0.0])];
    for (done, (kind, expected)) in (1..).zip(kinds) {
        let left = gracekeeper.leave();
        if kind == "hard" {
            httpd.hard();
        } else {
            httpd.graceful();
        }
        let truth = httpd.oracle().after_restarts(done);
        gracekeeper = left.start_again();
        let metrics = gracekeeper.wait_until("it is counted", |metrics| {
            metrics.total("httpd_restarts_total", &[]) > 0.0
        });
        assert_eq!(restarts(&metrics), expected);
        let labels = [("type", kind)];
        let at = metrics.value("httpd_last_restart_timestamp_seconds", &labels).unwrap();
        let resumed = truth[done - 1].resumed.unwrap();
        let resumed = resumed.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((at - resumed).abs() < 0.25, "told {at}, resumed {resumed}");
        let timed = metrics.histogram("httpd_restart_duration_seconds", &labels).unwrap();
        assert_eq!(timed.count, 0.0, "nobody saw it begin");
        assert_eq!(stops(&metrics), 0.0);
        seen_serving(&httpd, &gracekeeper);
    }
}

fn a_stop_and_a_start_that_nobody_saw_are_a_full_restart(mpm: Mpm) {
    let (mut httpd, gracekeeper) = watched(mpm);
    let left = gracekeeper.leave();
    httpd.stop();
    eventually("httpd has stopped", || !httpd.parent_is_alive());
    httpd.start_again();
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let gracekeeper = left.start_again();
    let metrics = gracekeeper.wait_until("all of it is told", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
            && metrics.total("httpd_restarts_total", &[]) >= 2.0
    });
    assert_eq!(restarts(&metrics), [0.0, 0.0, 1.0, 1.0], "of which type the second was is hidden");
    assert_eq!(metrics.value("httpd_stops_total", &[("type", "unknown")]), Some(1.0));
    assert_eq!(stops(&metrics), 1.0);
    let unserved = metrics.histogram("httpd_restart_unserved_seconds", &[("type", "full")]);
    assert_eq!(unserved.unwrap().count, 0.0, "nobody saw it end");
    let gracekeeper = gracekeeper.leave().start_again();
    seen_serving(&httpd, &gracekeeper);
    let metrics = gracekeeper.scrape();
    assert_eq!((restarts(&metrics), stops(&metrics)), ([0.0; 4], 0.0), "not again");
}

#[test]
fn several_restarts_that_nobody_saw_are_all_counted() {
    let (httpd, gracekeeper) = watched(Mpm::Event);
    let left = gracekeeper.leave();
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    httpd.hard();
    httpd.oracle().after_restarts(2);
    httpd.graceful();
    httpd.oracle().after_restarts(3);
    // Before its first child lives, nothing tells whether the last restart is over.
    eventually("the last generation serves", || httpd.generation() == Some(3));
    let gracekeeper = left.start_again();
    let metrics = gracekeeper.wait_until("they are counted", |metrics| {
        metrics.total("httpd_restarts_total", &[]) >= 3.0
    });
    assert_eq!(restarts(&metrics), [1.0, 1.0, 0.0, 1.0], "what a new scoreboard hides is unknown");
    assert_eq!(metrics.value("httpd_restarts_coalesced_total", &[]), Some(2.0));
    assert_eq!(metrics.value("httpd_generation", &[]), Some(3.0));
}

#[test]
fn a_drain_that_began_and_one_that_ended_while_nobody_looked_are_drains() {
    let (httpd, gracekeeper) = watched(Mpm::Event);
    let held = httpd.hold_requests(1);
    let left = gracekeeper.leave();
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let gracekeeper = left.start_again();
    let metrics = gracekeeper.wait_until("the drain is found", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
    });
    let began = metrics.value("httpd_drain_start_timestamp_seconds", &[]).unwrap();
    assert!((began - before).abs() < 1.0, "began {began}, the signal was sent after {before}");
    gracekeeper.wait_until("the first child of the new generation is seen", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
    });
    let left = gracekeeper.leave();
    held.release();
    eventually("the old child has left", || {
        httpd.oracle().living_children().iter().all(|child| child.generation == 1)
    });
    let metrics = left
        .start_again()
        .wait_until("it has looked", |metrics| metrics.value("httpd_up", &[]) == Some(1.0));
    assert_eq!(drains(&metrics, "drained"), 1.0);
    assert_eq!(metrics.value("httpd_drain_in_progress", &[]), Some(0.0));
    assert_eq!(restarts(&metrics), [0.0; 4]);
}

#[test]
fn orphans_are_orphans_still() {
    let (httpd, gracekeeper) = watched(Mpm::Event);
    let state = gracekeeper.state_directory();
    let left = gracekeeper.leave();
    assert_eq!(story(&state).unwrap()["old"], Value::Array(Vec::new()));
    httpd.kill_parent();
    let orphans = f64::from(u32::try_from(httpd.oracle().living_pids().len()).unwrap());
    assert!(orphans > 0.0);
    let gracekeeper = left.start_again();
    let metrics = gracekeeper.wait_until("the orphans are found", |metrics| {
        metrics.value("httpd_orphaned_children", &[]) == Some(orphans)
    });
    assert_eq!(metrics.value("httpd_up", &[]), Some(0.0));
    assert_eq!(metrics.value("httpd_stops_total", &[("type", "unknown")]), Some(1.0));
    let again = gracekeeper.leave().start_again();
    let metrics = again.wait_until("they are found again", |metrics| {
        metrics.value("httpd_orphaned_children", &[]) == Some(orphans)
    });
    assert_eq!(stops(&metrics), 0.0, "once");
}

#[test]
fn without_a_scoreboard_the_pid_file_tells() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    gracekeeper.wait_until("it is up", |metrics| metrics.value("httpd_up", &[]) == Some(1.0));
    if gracekeeper.scrape().value("httpd_generation", &[]).is_some() {
        // Who is not root has nobody to become.
        return;
    }
    let left = gracekeeper.leave();
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let gracekeeper = left.start_again();
    let metrics = gracekeeper
        .wait_until("it is counted", |metrics| metrics.total("httpd_restarts_total", &[]) > 0.0);
    assert_eq!(restarts(&metrics), [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(stops(&metrics), 0.0);
}

#[test]
fn a_server_that_is_down_is_remembered_until_it_is_forgotten() {
    let (httpd, gracekeeper, name) = discovered();
    httpd.stop();
    gracekeeper.wait_until("its stop is counted", |metrics| {
        metrics.total("httpd_stops_total", &[("server", &name)]) == 1.0
    });
    let gracekeeper = gracekeeper.leave().start_again();
    is_down(&gracekeeper, &name);
    let metrics = gracekeeper.scrape();
    assert_eq!(metrics.total("httpd_stops_total", &[("server", &name)]), 0.0);
    assert_eq!(metrics.total("httpd_restarts_total", &[("server", &name)]), 0.0);

    let unknown = forget(&gracekeeper.configuration_file(), "nobody");
    assert_refused(&unknown, 64, "no server is called nobody: known are ");
    let done = forget(&gracekeeper.configuration_file(), &name);
    assert_eq!((done.status.code(), said(&done)), (Some(0), format!("{name} is forgotten\n")));
    gracekeeper.wait_until("its series are gone", |metrics| {
        metrics.series_of("httpd_up", &[("server", &name)]).is_empty()
    });
    let gracekeeper = gracekeeper.leave().start_again();
    gracekeeper.wait_until("it has looked", |_| gracekeeper.get("/-/ready").status == 200);
    assert!(gracekeeper.scrape().series_of("httpd_up", &[("server", &name)]).is_empty());
}

#[test]
fn a_server_is_forgotten_while_nobody_watches_it() {
    let (httpd, gracekeeper, name) = discovered();
    let running = forget(&gracekeeper.configuration_file(), &name);
    assert_refused(&running, 64, "is up: only a server that is down can be forgotten");
    let left = gracekeeper.leave();
    let running = forget(&left.configuration_file(), &name);
    assert_refused(&running, 64, "is up: only a server that is down can be forgotten");
    httpd.stop();
    eventually("httpd has stopped", || !httpd.parent_is_alive());
    let done = forget(&left.configuration_file(), &name);
    assert_eq!((done.status.code(), said(&done)), (Some(0), format!("{name} is forgotten\n")));
    let again = forget(&left.configuration_file(), &name);
    assert_refused(&again, 64, "no server is called ");
    let gracekeeper = left.start_again();
    gracekeeper.wait_until("it has looked", |_| gracekeeper.get("/-/ready").status == 200);
    assert!(gracekeeper.scrape().series_of("httpd_up", &[("server", &name)]).is_empty());
}

#[test]
fn a_server_that_was_started_again_since_is_not_forgotten() {
    let (mut httpd, gracekeeper, name) = discovered();
    let left = gracekeeper.leave();
    httpd.stop();
    eventually("httpd has stopped", || !httpd.parent_is_alive());
    httpd.start_again();
    let refused = forget(&left.configuration_file(), &name);
    assert_refused(&refused, 64, "is up: only a server that is down can be forgotten");
    let pid_file = fs::read(httpd.pid_file()).unwrap();
    fs::remove_file(httpd.pid_file()).unwrap();
    let refused = forget(&left.configuration_file(), &name);
    fs::write(httpd.pid_file(), pid_file).unwrap();
    assert_refused(&refused, 64, "is up: only a server that is down can be forgotten");
    assert!(is_kept(&left.state_directory(), &name));
}

#[test]
fn who_is_told_that_it_is_forgotten_finds_it_gone_from_the_file() {
    let (httpd, gracekeeper, name) = discovered();
    httpd.stop();
    is_down(&gracekeeper, &name);
    let state = gracekeeper.state_directory();
    eventually("it is kept", || is_kept(&state, &name));
    let done = forget(&gracekeeper.configuration_file(), &name);
    assert!(!is_kept(&state, &name), "at once");
    assert_eq!((done.status.code(), said(&done)), (Some(0), format!("{name} is forgotten\n")));
}

#[test]
fn a_discovered_server_whose_name_another_got_is_remembered() {
    let (httpd, gracekeeper, name) = discovered();
    httpd.stop();
    is_down(&gracekeeper, &name);
    let other = Httpd::builder(Mpm::Event).start();
    let file = gracekeeper.configuration_file();
    let discovering = fs::read_to_string(&file).unwrap();
    let pid_file = other.pid_file();
    let server = format!("[[server]]\nname = {name:?}\npid_file = {pid_file:?}\n");
    for (done, configuration) in (1..).zip([format!("{discovering}\n{server}"), discovering]) {
        fs::write(&file, configuration).unwrap();
        gracekeeper.signal(Signal::HUP);
        eventually("it is read again", || {
            gracekeeper.log().matches("configuration read again").count() == done
        });
        gracekeeper.wait_until("the other one has the name", |metrics| {
            metrics.value("httpd_up", &[("server", &name)]) == Some(1.0)
        });
    }
    let state = gracekeeper.state_directory();
    let _left = gracekeeper.leave();
    let text = fs::read_to_string(state.join("servers.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let servers = document["servers"].as_array().unwrap();
    let of_name = servers.iter().filter(|server| server["name"] == *name);
    let mut discovered: Vec<bool> = of_name.map(|server| server["pid_file"].is_null()).collect();
    discovered.sort_unstable();
    assert_eq!(discovered, [false, true], "the configured one, and the discovered one: {text}");
}

#[test]
fn a_configured_server_is_not_forgotten() {
    let (_httpd, gracekeeper) = watched(Mpm::Event);
    let refused = forget(&gracekeeper.configuration_file(), "main");
    assert_refused(&refused, 64, "main is configured");
    let left = gracekeeper.leave();
    assert_refused(&forget(&left.configuration_file(), "main"), 64, "main is configured");
}

#[test]
fn a_state_that_is_not_believed_is_put_aside() {
    let (httpd, gracekeeper) = watched(Mpm::Event);
    let mut left = gracekeeper.leave();
    for garbage in ["{\"format\":1,\"servers\":", "{\"format\":2}"] {
        let state = left.state_directory();
        fs::write(state.join("servers.json"), garbage).unwrap();
        let gracekeeper = left.start_again();
        seen_serving(&httpd, &gracekeeper);
        let log = gracekeeper.log();
        assert_eq!(log.matches("state not believed, put aside").count(), 1, "{log}");
        assert_eq!(fs::read_to_string(state.join("servers.json.corrupt-1")).unwrap(), garbage);
        assert_eq!(restarts(&gracekeeper.scrape()), [0.0; 4]);
        left = gracekeeper.leave();
        assert!(kept(&state).is_some(), "a new one is kept");
    }
}

#[test]
fn a_directory_that_may_not_be_written_is_said_once() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let left = gracekeeper.leave();
    let state = left.state_directory();
    fs::remove_dir_all(&state).unwrap();
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o555)).unwrap();
    let gracekeeper = left.start_again();
    gracekeeper.wait_until("it is up", |metrics| metrics.value("httpd_up", &[]) == Some(1.0));
    let log = gracekeeper.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("state is not kept")).collect();
    if rustix::process::geteuid().is_root() {
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains("Permission denied") && lines[0].contains("mend="), "{log}");
        assert!(lines[0].contains(&state.display().to_string()), "{log}");
    }
}

#[test]
fn of_two_runs_the_second_keeps_nothing_and_says_so() {
    let (httpd, first) = watched(Mpm::Event);
    let second = Gracekeeper::watching(&httpd).sharing_the_state_of(&first).start();
    seen_serving(&httpd, &second);
    let line = "another gracekeeper keeps its state here, this one keeps none";
    assert_eq!(second.log().matches(line).count(), 1, "{}", second.log());
}

#[test]
fn a_state_directory_that_others_may_write_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (_httpd, gracekeeper) = watched(Mpm::Event);
    let left = gracekeeper.leave();
    fs::set_permissions(left.state_directory(), Permissions::from_mode(0o777)).unwrap();
    for command in ["run", "forget"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_gracekeeper"));
        program.arg(command).args((command == "forget").then_some("x"));
        let output = program.arg("--config.file").arg(left.configuration_file()).output().unwrap();
        assert_refused(&output, 64, "must be root's, and writable by nobody else");
    }
}

fn discovered() -> (Httpd, Gracekeeper, String) {
    let httpd = Httpd::builder(Mpm::Event).daemonised().start();
    let gracekeeper = Gracekeeper::discovering().start();
    let name = httpd.directory().file_name().unwrap().to_str().unwrap().to_owned();
    gracekeeper.wait_until("it is discovered", |metrics| {
        metrics.value("httpd_serving", &[("server", &name)]) == Some(1.0)
    });
    (httpd, gracekeeper, name)
}

fn is_down(gracekeeper: &Gracekeeper, name: &str) {
    gracekeeper.wait_until("it is down", |metrics| {
        metrics.value("httpd_up", &[("server", name)]) == Some(0.0)
    });
}

fn forget(configuration: &Path, name: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_gracekeeper"));
    program.args(["forget", name, "--config.file"]).arg(configuration).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_refused(output: &Output, code: i32, words: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(words), "{words:?} is not in: {errors}");
}
