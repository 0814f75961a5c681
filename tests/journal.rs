//! The journal and the API beside a real httpd: what happened, with the oracle's numbers.

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, program, under_every_mpm};

under_every_mpm! {
    what_happens_is_told_with_the_oracles_numbers
}

/// As of other tests of measured times.
const TOLERANCE: f64 = 0.25;

fn events(gracekeeper: &Gracekeeper) -> Vec<Value> {
    let answer = gracekeeper.get("/api/v1/events");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    page["events"].as_array().unwrap().clone()
}

fn status(gracekeeper: &Gracekeeper) -> Value {
    let answer = gracekeeper.get("/api/v1/status");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    page["servers"][0].clone()
}

/// The entries of an event, as soon as there are so many.
#[track_caller]
fn told(gracekeeper: &Gracekeeper, event: &str, count: usize) -> Vec<Value> {
    eventually(&format!("the journal has {count} of {event}"), || {
        let of = |entry: &Value| entry["event"] == event;
        let entries: Vec<Value> = events(gracekeeper).into_iter().filter(of).collect();
        (entries.len() >= count).then_some(entries)
    })
}

/// What is in the file: every line that is whole.
fn written(gracekeeper: &Gracekeeper) -> Vec<Value> {
    let file = gracekeeper.state_directory().join("journal.jsonl");
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut lines: Vec<Value> = lines.collect();
    // The file is in the order in which things ended, the page in that in which they began.
    lines.sort_by_key(|line| line["at"].as_str().map(str::to_owned));
    lines
}

#[track_caller]
fn assert_at(entry: &Value, truth: SystemTime) {
    let at: jiff::Timestamp = entry["at"].as_str().unwrap().parse().unwrap();
    let truth = truth.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this century")]
    let at = at.as_microsecond() as f64 / 1e6;
    assert!((at - truth).abs() < TOLERANCE, "{entry} began at {truth}");
}

#[track_caller]
fn assert_lasted(entry: &Value, truth: Duration) {
    let lasted = entry["duration_seconds"].as_f64().unwrap();
    assert!((lasted - truth.as_secs_f64()).abs() < TOLERANCE, "{entry} lasted {truth:?}");
}

/// A program that restarts servers; each test has another, since everybody sees all of them.
fn restarter(mpm: Mpm) -> &'static str {
    match mpm {
        Mpm::Event => "apachectl",
        Mpm::Worker => "logrotate",
        Mpm::Prefork => "acme.sh",
    }
}

/// Calls a script of this name that signals the parent and stays until its input ends.
fn call(name: &str, httpd: &Httpd) -> Child {
    let script = httpd.directory().join(name);
    program::write_script(&script, "#!/bin/sh\nkill -USR1 \"$2\"\nread -r _\n");
    let mut command = Command::new(script);
    command.args(["graceful", &httpd.pid().to_string()]).stdin(Stdio::piped()).spawn().unwrap()
}

fn suspects(restart: &Value) -> Vec<&str> {
    restart["suspects"].as_array().into_iter().flatten().map(|it| it.as_str().unwrap()).collect()
}

fn what_happens_is_told_with_the_oracles_numbers(mpm: Mpm) {
    let mut httpd = Httpd::builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    // One that keeps nothing: another one has the state directory.
    let forgetful = Gracekeeper::watching(&httpd).sharing_the_state_of(&gracekeeper).start();
    for each in [&gracekeeper, &forgetful] {
        each.wait_until("the server is seen serving", |metrics| {
            metrics.value("httpd_serving", &[]) == Some(1.0)
        });
        assert!(events(each).is_empty(), "it was running before: {:?}", events(each));
    }

    let held = httpd.hold_requests(1);
    let mut caller = call(restarter(mpm), &httpd);
    let restart = told(&gracekeeper, "restart", 1).remove(0);
    let truth = httpd.oracle().after_restarts(1).remove(0);
    assert_eq!((&restart["type"], &restart["outcome"]), (&"graceful".into(), &"resumed".into()));
    assert_at(&restart, truth.began);
    // On a busy machine both its traces may be read at once: then it has none.
    if !restart["duration_seconds"].is_null() {
        assert_lasted(&restart, truth.duration().unwrap());
    }
    assert_eq!(restart["origin"], "other");
    assert!(suspects(&restart).contains(&restarter(mpm)), "{restart}");
    let witnesses = serde_json::json!(["process_table", "scoreboard", "error_log"]);
    assert_eq!(restart["evidence"], witnesses, "{restart}");
    let shown = eventually("both generations have children", || {
        let shown = status(&gracekeeper);
        (shown["generations"].as_array()?.len() == 2).then_some(shown)
    });
    assert_eq!(shown["restart"]["last"]["suspects"], restart["suspects"]);
    assert_eq!(shown["restart"]["last"]["duration_seconds"], restart["duration_seconds"]);
    assert_eq!(shown["generations"][1]["draining_since"], restart["at"]);
    assert_eq!((&shown["generation"], &shown["parent"]["pid"]), (&1.into(), &httpd.pid().into()));
    drop(caller.stdin.take());
    caller.wait().unwrap();
    held.release();
    let drain = told(&gracekeeper, "drain", 1).remove(0);
    let truth = httpd.oracle().drain(0).unwrap();
    let ended = truth.end.unwrap().duration_since(truth.start).unwrap();
    assert_at(&drain, truth.start);
    assert_lasted(&drain, ended);
    assert_eq!((&drain["generation"], &drain["outcome"]), (&0.into(), &"drained".into()));
    assert_eq!(drain["children"], truth.children.len());

    let sent = SystemTime::now();
    httpd.signal(Signal::HUP);
    let restart = told(&gracekeeper, "restart", 2).remove(1);
    // Prefork writes its line when its children have ended: the signal itself is all that counts.
    assert_eq!((&restart["type"], &restart["outcome"]), (&"hard".into(), &"resumed".into()));
    assert_at(&restart, sent);
    assert!(!suspects(&restart).contains(&restarter(mpm)), "it is gone: {restart}");
    told(&forgetful, "restart", 2);
    eventually("each line is written once", || {
        (written(&gracekeeper) == events(&gracekeeper)).then_some(())
    });
    forgetful.end();
    // Who is killed between the two tells it again.
    eventually("the restart is kept too", || {
        let file = gracekeeper.state_directory().join("servers.json");
        let kept: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        kept["servers"][0]["memory"]["last"]["restart"].get("hard").map(drop)
    });

    after_a_crash(mpm, &mut httpd, gracekeeper);
}

/// gracekeeper is killed in the middle of a line, and goes on with the journal when it is back.
fn after_a_crash(mpm: Mpm, httpd: &mut Httpd, gracekeeper: Gracekeeper) {
    let before = events(&gracekeeper);
    let left = gracekeeper.kill();
    let file = left.state_directory().join("journal.jsonl");
    let mut journal = fs::OpenOptions::new().append(true).open(file).unwrap();
    journal.write_all(b"{\"at\":\"2026-11-22T10:32:12Z\",\"server\":\"ma").unwrap();
    let mut caller = call(restarter(mpm), httpd);
    httpd.oracle().after_restarts(3);
    let gracekeeper = left.start_again();
    let restart = told(&gracekeeper, "restart", 3).remove(2);
    assert_eq!(suspects(&restart), [""; 0], "who is there now is not who was there then");
    drop(caller.stdin.take());
    caller.wait().unwrap();
    assert_eq!((&restart["type"], &restart["outcome"]), (&"graceful".into(), &"resumed".into()));
    assert_eq!(events(&gracekeeper)[..before.len()], before, "the torn line is none");

    httpd.stop();
    let stop = told(&gracekeeper, "stop", 1).remove(0);
    assert_eq!(stop["type"], "stop", "{stop}");
    httpd.start_again();
    let start = told(&gracekeeper, "start", 1).remove(0);
    assert_eq!(start["full_restart"], true, "{start}");
    eventually("the last restart is the full one", || {
        (status(&gracekeeper)["restart"]["last"]["type"] == "full").then_some(())
    });

    // A child that is busy outlives the parent, and proves what the restart was.
    let held = httpd.hold_requests(1);
    gracekeeper.wait_until("the child that is busy is seen so", |metrics| {
        metrics.total("httpd_workers", &[("state", "sending")]) >= 1.0
    });
    httpd.rewrite_config(|text| format!("{text}\nNonsense\n"));
    httpd.graceful();
    let restart = told(&gracekeeper, "restart", 4).remove(3);
    assert_eq!((&restart["type"], &restart["outcome"]), (&"graceful".into(), &"failed".into()));
    let shown = eventually("the server is down", || {
        let shown = status(&gracekeeper);
        (shown["up"] == false).then_some(shown)
    });
    assert_eq!(shown["restart"]["last"]["outcome"], "failed");
    assert!(restart["reason"].is_string());
    told(&gracekeeper, "stop", 1);
    let lines = eventually("every line is written", || {
        let lines = written(&gracekeeper);
        (lines == events(&gracekeeper)).then_some(lines)
    });
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((of("start"), of("stop"), of("restart")), (1, 1, 4), "{lines:#?}");
    drop(held);
}
