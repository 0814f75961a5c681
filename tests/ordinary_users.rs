//! What an ordinary user is told of root's httpd, without its scoreboard and without its log: a
//! type where it is proven, `unknown` where it is not, and never a wrong one.
//!
//! A test that is run by an ordinary user has an httpd of that user, which hides nothing from it:
//! then there is nobody to be, and [`watched`] returns none.

mod attacks;
mod hidden;
mod mixed;
mod sidecar;

use std::time::Duration;

use rustix::process::geteuid;

use crate::harness::{
    Gracekeeper, Httpd, Mpm, RestartKind, configuration::Builder, eventually, metrics::Metrics,
    under_every_mpm,
};

under_every_mpm! {
    a_held_request_proves_a_graceful_restart_and_its_drain
    a_hard_restart_is_never_called_graceful
    an_idle_graceful_restart_is_never_called_hard
    a_stop_and_a_start_are_a_full_restart
    a_failed_restart_is_told_from_a_stop_by_its_exit_status
    what_is_closed_is_said_once_and_nothing_is_shown_of_it
    a_killed_gracekeeper_counts_nothing_twice
}

const KINDS: [&str; 4] = ["graceful", "hard", "full", "unknown"];

/// Root's httpd, whose children are another user's, watched by `nobody`.
fn watched(httpd: Builder) -> Option<(Httpd, Gracekeeper)> {
    let httpd = httpd.start();
    let gracekeeper =
        Gracekeeper::watching(&httpd).server("error_log = \"none\"").run_by_nobody().start();
    seen_serving(&httpd, &gracekeeper);
    let closed = gracekeeper.scrape().value("gracekeeper_source_up", &[("source", "scoreboard")]);
    assert_eq!(closed, Some(f64::from(u8::from(!geteuid().is_root()))));
    geteuid().is_root().then_some((httpd, gracekeeper))
}

fn seen_serving(httpd: &Httpd, gracekeeper: &Gracekeeper) {
    gracekeeper.wait_until("the server is seen serving", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
            && children(metrics, "current") == f64::from(living(httpd))
    });
    looked_twice(gracekeeper);
}

/// A child bears witness once a look has found it that was there already.
fn looked_twice(gracekeeper: &Gracekeeper) {
    let before = looks(&gracekeeper.scrape());
    gracekeeper.wait_until("it has looked twice", |metrics| looks(metrics) >= before + 2.0);
}

fn living(httpd: &Httpd) -> u32 {
    u32::try_from(httpd.oracle().living_pids().len()).unwrap()
}

fn children(metrics: &Metrics, age: &str) -> f64 {
    metrics.value("httpd_children", &[("generation", age)]).unwrap_or(0.0)
}

fn restarts(metrics: &Metrics) -> [f64; 4] {
    KINDS.map(|kind| metrics.value("httpd_restarts_total", &[("type", kind)]).unwrap())
}

fn drains(metrics: &Metrics, outcome: &str) -> f64 {
    let labels = [("outcome", outcome)];
    metrics.histogram("httpd_drain_duration_seconds", &labels).unwrap().count
}

fn looks(metrics: &Metrics) -> f64 {
    metrics.value("gracekeeper_look_duration_seconds_count", &[]).unwrap()
}

/// What really happened: graceful, hard and full restarts.
fn truth(httpd: &Httpd) -> [f64; 3] {
    let all = httpd.oracle().completed_restarts();
    let of = |kind: RestartKind| all.iter().filter(|restart| restart.kind == kind).count();
    let starts = httpd.oracle().starts().len() - 1;
    [of(RestartKind::Graceful), of(RestartKind::Hard), starts]
        .map(|count| f64::from(u32::try_from(count).unwrap()))
}

/// Waits until httpd has gone through all that it was told, and gracekeeper has looked at that.
fn over(httpd: &Httpd, gracekeeper: &Gracekeeper) -> Metrics {
    eventually("httpd has resumed", || {
        let oracle = httpd.oracle();
        let all = oracle.restarts().len();
        all == oracle.completed_restarts().len() && httpd.generation().is_some()
    });
    let before = looks(&gracekeeper.scrape());
    gracekeeper.wait_until("it has looked, and believes that nothing is in progress", |metrics| {
        looks(metrics) >= before + 2.0
            && metrics.value("httpd_restart_in_progress", &[]) == Some(0.0)
    })
}

/// No type is counted more often than there was such a restart, nor are there more in all.
#[track_caller]
fn assert_never_wrong(httpd: &Httpd, metrics: &Metrics) {
    let told = restarts(metrics);
    let truth = truth(httpd);
    eprintln!("told {told:?}, truth {truth:?}");
    for (kind, (told, truth)) in KINDS.iter().zip(told.iter().zip(&truth)) {
        assert!(told <= truth, "{told} {kind} restarts were told, {truth} happened");
    }
    let (told, truth) = (told.iter().sum::<f64>(), truth.iter().sum::<f64>());
    assert!(told <= truth, "{told} restarts were told, {truth} happened");
    assert_eq!(metrics.total("httpd_restart_failures_total", &[]), 0.0);
    assert_eq!(metrics.value("gracekeeper_contradictions_total", &[]), Some(0.0));
}

fn a_held_request_proves_a_graceful_restart_and_its_drain(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    let held = httpd.hold_requests(2);
    gracekeeper.wait_until("the spare children are seen too", |metrics| {
        children(metrics, "current") == f64::from(living(&httpd))
    });
    looked_twice(&gracekeeper);
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let metrics = gracekeeper.wait_until("the restart and its drain are seen", |metrics| {
        metrics.total("httpd_restarts_total", &[]) == 1.0
            && metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
    });
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0], "a survivor proves it");
    gracekeeper.wait_until("each child has its generation", |metrics| {
        let all = httpd.oracle().living_children();
        let of = |old: bool| {
            let generation = |generation: u32| (generation == 0) == old;
            let count = all.iter().filter(|child| generation(child.generation)).count();
            f64::from(u32::try_from(count).unwrap())
        };
        of(true) > 0.0
            && of(false) > 0.0
            && children(metrics, "old") == of(true)
            && children(metrics, "current") == of(false)
    });
    let metrics = gracekeeper.scrape();
    let began = metrics.value("httpd_drain_start_timestamp_seconds", &[]).unwrap();
    let truth = httpd.oracle().restarts()[0].began;
    let truth = truth.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((began - truth).abs() < 1.0, "began {began}, in truth {truth}");
    held.release();
    let metrics = gracekeeper.wait_until("the drain has ended", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
    });
    assert_eq!((drains(&metrics, "drained"), drains(&metrics, "interrupted")), (1.0, 0.0));
    assert_eq!(children(&metrics, "old"), 0.0);
    let metrics = over(&httpd, &gracekeeper);
    assert_eq!((drains(&metrics, "drained"), drains(&metrics, "interrupted")), (1.0, 0.0));
    assert_never_wrong(&httpd, &metrics);
}

fn a_hard_restart_is_never_called_graceful(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    for count in 1..=3 {
        httpd.hard();
        httpd.oracle().after_restarts(count);
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
        let told = restarts(&metrics);
        assert_eq!(told.iter().sum::<f64>(), f64::from(u32::try_from(count).unwrap()));
    }
    assert_eq!(gracekeeper.scrape().total("httpd_drain_duration_seconds_count", &[]), 0.0);
}

fn an_idle_graceful_restart_is_never_called_hard(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm).with_cgid()) else { return };
    for count in 1..=3 {
        httpd.graceful();
        httpd.oracle().after_restarts(count);
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
        let told = restarts(&metrics);
        assert_eq!(told.iter().sum::<f64>(), f64::from(u32::try_from(count).unwrap()));
    }
}

fn a_stop_and_a_start_are_a_full_restart(mpm: Mpm) {
    let Some((mut httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    for (count, graceful) in [(1.0, false), (2.0, true)] {
        if graceful {
            httpd.graceful_stop();
        } else {
            httpd.stop();
        }
        let metrics = gracekeeper.wait_until("the stop is seen", |metrics| {
            metrics.total("httpd_stops_total", &[]) == count
        });
        for kind in ["failed_restart", "crash", "killed"] {
            assert_eq!(metrics.value("httpd_stops_total", &[("type", kind)]), Some(0.0), "{kind}");
        }
        assert_eq!(metrics.value("httpd_up", &[]), Some(0.0));
        httpd.start_again();
        let metrics = gracekeeper.wait_until("the full restart is counted", |metrics| {
            metrics.total("httpd_restarts_total", &[]) == count
        });
        assert_eq!(restarts(&metrics), [0.0, 0.0, count, 0.0]);
    }
    httpd.kill_parent();
    gracekeeper.wait_until("the kill is told by the exit status", |metrics| {
        metrics.value("httpd_stops_total", &[("type", "killed")]) == Some(1.0)
    });
}

fn a_failed_restart_is_told_from_a_stop_by_its_exit_status(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    httpd.rewrite_config(|text| format!("{text}\nNoSuchDirective\n"));
    httpd.graceful();
    let metrics = gracekeeper
        .wait_until("the end is seen", |metrics| metrics.total("httpd_stops_total", &[]) == 1.0);
    assert_eq!(metrics.value("httpd_stops_total", &[("type", "failed_restart")]), Some(1.0));
    assert_eq!(metrics.total("httpd_restart_failures_total", &[]), 1.0);
    assert_eq!(restarts(&metrics), [0.0; 4]);
    assert_eq!(metrics.value("httpd_last_restart_successful", &[]), Some(0.0));
}

fn what_is_closed_is_said_once_and_nothing_is_shown_of_it(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    httpd.hard();
    httpd.oracle().after_restarts(2);
    let metrics = over(&httpd, &gracekeeper);
    let source = [("source", "scoreboard")];
    assert_eq!(metrics.value("gracekeeper_source_up", &source), Some(0.0));
    assert_eq!(metrics.value("gracekeeper_source_up", &[("source", "process_table")]), Some(1.0));
    for (labels, value) in metrics.series_of("gracekeeper_source_errors_total", &source) {
        assert_eq!(value > 0.0, labels["reason"] == "permission", "{labels:?} {value}");
    }
    for absent in
        ["httpd_generation", "httpd_workers", "httpd_scoreboard_slots", "httpd_memory_pss_bytes"]
    {
        assert!(metrics.series_of(absent, &[]).is_empty(), "{absent}");
    }
    let log = gracekeeper.log();
    let scoreboard = |line: &&str| line.contains("gives nothing") && line.contains("scoreboard");
    let said: Vec<&str> = log.lines().filter(scoreboard).collect();
    assert_eq!(said.len(), 1, "{log}");
    for words in ["source=scoreboard", "reason=permission", "mend=", "CAP_SYS_PTRACE"] {
        assert!(said[0].contains(words), "{words} is not in: {}", said[0]);
    }
}

fn a_killed_gracekeeper_counts_nothing_twice(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    let held = httpd.hold_requests(1);
    gracekeeper.wait_until("the spare children are seen too", |metrics| {
        children(metrics, "current") == f64::from(living(&httpd))
    });
    looked_twice(&gracekeeper);
    httpd.graceful();
    gracekeeper.wait_until("the drain is seen, and who serves instead", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
            && metrics.value("httpd_serving", &[]) == Some(1.0)
            && restarts(metrics) == [1.0, 0.0, 0.0, 0.0]
    });
    let state = gracekeeper.state_directory().join("servers.json");
    // What is shown is kept a moment later.
    let keeps = |drain: bool| {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let drains = &document["servers"][0]["memory"]["life"]["story"]["drains"]["open"];
        drains.as_array().is_some_and(|open| open.is_empty() != drain)
    };
    eventually("the drain is kept", || keeps(true));
    let again = gracekeeper.kill().start_again();
    let metrics = again.wait_until("it is up again, and the drain goes on", |metrics| {
        metrics.value("httpd_up", &[]) == Some(1.0)
            && metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
    });
    assert_eq!(restarts(&metrics), [0.0; 4], "it was counted by the run before");
    held.release();
    let metrics = again.wait_until("the drain has ended", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
    });
    assert_eq!((drains(&metrics, "drained"), drains(&metrics, "interrupted")), (1.0, 0.0));
    eventually("its end is kept", || keeps(false));
    let again = again.kill().start_again();
    let metrics = over(&httpd, &again);
    assert_eq!(restarts(&metrics), [0.0; 4]);
    assert_eq!((drains(&metrics, "drained"), drains(&metrics, "interrupted")), (0.0, 0.0));
    assert_eq!(metrics.total("httpd_stops_total", &[]), 0.0);
}

/// Long enough for a look at what just happened to begin.
const MOMENT: Duration = Duration::from_millis(5);
