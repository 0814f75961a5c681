//! Real restarts of a real httpd, as gracekeeper tells them and as the oracle saw them.

use std::time::{Duration, SystemTime};

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, under_every_mpm};

/// How far a measured time may lie from the oracle's on a machine that does other things too; how
/// far it does lie is what `make bench` tells.
const TOLERANCE: f64 = 0.25;

under_every_mpm! {
    an_idle_graceful_restart_is_counted_and_its_drain_too
    a_held_request_drains_for_as_long_as_it_is_held
    a_graceful_restart_during_a_drain_opens_a_second_drain
    an_idle_hard_restart_is_no_graceful_one
    a_hard_restart_interrupts_held_requests
    five_signals_are_five_restarts
    a_stop_and_a_start_are_a_full_restart
    every_worker_busy_hides_nothing
    a_killed_parent_leaves_orphans
    the_cgid_daemon_and_a_piped_log_are_no_children
    a_scoreboard_in_a_file_is_read
}

fn watched(mpm: Mpm) -> (Httpd, Gracekeeper) {
    watch(Httpd::builder(mpm).start())
}

fn watch(httpd: Httpd) -> (Httpd, Gracekeeper) {
    let gracekeeper = Gracekeeper::watching(&httpd).server("error_log = \"none\"").start();
    gracekeeper.wait_until("the server is seen serving", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
            && children(metrics, "current") == f64::from(living(&httpd))
    });
    (httpd, gracekeeper)
}

fn living(httpd: &Httpd) -> u32 {
    u32::try_from(httpd.oracle().living_pids().len()).unwrap()
}

fn restarts(metrics: &Metrics, kind: &str) -> f64 {
    metrics.value("httpd_restarts_total", &[("type", kind)]).unwrap()
}

fn children(metrics: &Metrics, age: &str) -> f64 {
    metrics.value("httpd_children", &[("generation", age)]).unwrap_or(0.0)
}

fn count(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> f64 {
    metrics.histogram(name, labels).unwrap().count
}

#[track_caller]
fn assert_restarts(metrics: &Metrics, graceful: f64, hard: f64, full: f64) {
    let counted = ["graceful", "hard", "full", "unknown"].map(|kind| restarts(metrics, kind));
    assert_eq!(counted, [graceful, hard, full, 0.0], "graceful, hard, full, unknown");
    let total = graceful + hard + full;
    // On a busy machine several restarts may fall into one look; of those before the last one no
    // trace may tell when they resumed, and what is not known is not observed.
    let timed = metrics.total("httpd_restart_duration_seconds_count", &[]);
    assert!((1.0..=total).contains(&timed), "{timed} of {total} restarts were timed");
    assert_eq!(metrics.total("httpd_restart_failures_total", &[]), 0.0);
    assert_eq!(metrics.value("gracekeeper_contradictions_total", &[]), Some(0.0));
    assert_eq!(metrics.value("httpd_restart_in_progress", &[]), Some(0.0));
}

#[track_caller]
fn assert_near(measured: f64, truth: Duration) {
    let truth = truth.as_secs_f64();
    assert!((measured - truth).abs() < TOLERANCE, "measured {measured} s, was {truth} s");
}

/// Waits until the new generation serves, which is when everything about a restart is known.
fn settled(gracekeeper: &Gracekeeper, total: f64) -> Metrics {
    gracekeeper.wait_until("every restart is counted and served again", |metrics| {
        metrics.total("httpd_restarts_total", &[]) >= total
            && metrics.total("httpd_restart_unserved_seconds_count", &[]) >= total
            && metrics.value("httpd_serving", &[]) == Some(1.0)
    })
}

fn an_idle_graceful_restart_is_counted_and_its_drain_too(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    let before = SystemTime::now();
    httpd.graceful();
    let truth = httpd.oracle().after_restarts(1);
    let metrics = settled(&gracekeeper, 1.0);
    assert_restarts(&metrics, 1.0, 0.0, 0.0);
    let labels = [("type", "graceful")];
    let duration = metrics.histogram("httpd_restart_duration_seconds", &labels).unwrap();
    assert_near(duration.sum, truth[0].duration().unwrap());
    assert_eq!(count(&metrics, "httpd_drain_duration_seconds", &[("outcome", "drained")]), 1.0);
    assert_eq!(metrics.value("httpd_generation", &[]), Some(1.0));
    assert_eq!(metrics.value("httpd_last_restart_successful", &[]), Some(1.0));
    let at = metrics.value("httpd_last_restart_timestamp_seconds", &labels).unwrap();
    let before = before.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_near(at, before);
}

fn a_held_request_drains_for_as_long_as_it_is_held(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    let held = httpd.hold_requests(3);
    gracekeeper.wait_until("the spare children are seen too", |metrics| {
        children(metrics, "current") == f64::from(living(&httpd))
    });
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_restarts(&metrics, 1.0, 0.0, 0.0);
    let metrics = gracekeeper.wait_until("the drain is seen", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
            && metrics.value("httpd_generations", &[]) == Some(2.0)
    });
    assert!(children(&metrics, "old") >= 1.0);
    assert!(metrics.value("httpd_drain_start_timestamp_seconds", &[]).is_some());
    assert!(metrics.value("httpd_scoreboard_slots", &[("state", "old")]).unwrap() >= 1.0);
    let busy = metrics.total("httpd_workers", &[("generation", "old"), ("state", "sending")])
        + metrics.total("httpd_workers", &[("generation", "old"), ("state", "graceful")]);
    assert!(busy >= 3.0, "{busy} old workers have a request");
    held.release();
    let drain = eventually("the oracle sees the end", || {
        httpd.oracle().drain(0).filter(|drain| drain.end.is_some())
    });
    let metrics = gracekeeper.wait_until("the drain has ended", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
    });
    let truth = drain.end.unwrap().duration_since(drain.start).unwrap();
    assert_near(metrics.value("httpd_last_drain_duration_seconds", &[]).unwrap(), truth);
    let drains = count(&metrics, "httpd_drain_duration_seconds", &[("outcome", "drained")]);
    assert_eq!(drains, 1.0);
    let left = count(&metrics, "httpd_child_drain_duration_seconds", &[]);
    // prefork may fork once more between the signal and its line: only the scoreboard tells whose.
    assert!(left >= f64::from(u32::try_from(drain.children.len()).unwrap()), "{left} left");
    assert_eq!(children(&metrics, "old"), 0.0);
    assert_eq!(metrics.value("httpd_drain_start_timestamp_seconds", &[]), None);
    assert!(metrics.value("httpd_overlap_seconds_total", &[]).unwrap() > 0.0);
    assert_eq!(metrics.value("httpd_interrupted_requests_total", &[]), Some(0.0));
}

fn a_graceful_restart_during_a_drain_opens_a_second_drain(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    let first = httpd.hold_requests(1);
    httpd.graceful();
    settled(&gracekeeper, 1.0);
    let second = httpd.hold_requests(1);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 2.0);
    assert_restarts(&metrics, 2.0, 0.0, 0.0);
    gracekeeper.wait_until("three generations live", |metrics| {
        metrics.value("httpd_generations", &[]) == Some(3.0)
    });
    let outcome = [("outcome", "drained")];
    first.release();
    gracekeeper.wait_until("the older generation has left", |metrics| {
        count(metrics, "httpd_drain_duration_seconds", &outcome) == 1.0
            && metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
    });
    second.release();
    gracekeeper.wait_until("the younger one too", |metrics| {
        count(metrics, "httpd_drain_duration_seconds", &outcome) == 2.0
            && metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
    });
}

fn an_idle_hard_restart_is_no_graceful_one(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    httpd.hard();
    httpd.oracle().after_restarts(1);
    let metrics = settled(&gracekeeper, 1.0);
    assert_restarts(&metrics, 0.0, 1.0, 0.0);
    assert_eq!(metrics.total("httpd_drain_duration_seconds_count", &[]), 0.0);
    gracekeeper.wait_until("what the parent ended is told from what drained", |metrics| {
        metrics.value("httpd_child_exits_total", &[("reason", "terminated")]).unwrap() >= 1.0
    });
}

fn a_hard_restart_interrupts_held_requests(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    let drained = httpd.hold_requests(1);
    httpd.graceful();
    settled(&gracekeeper, 1.0);
    let held = httpd.hold_requests(2);
    gracekeeper.wait_until("the requests are seen", |metrics| {
        metrics.total("httpd_workers", &[("generation", "current"), ("state", "sending")]) >= 2.0
    });
    httpd.hard();
    let truth = httpd.oracle().after_restarts(2);
    let metrics = settled(&gracekeeper, 2.0);
    assert_restarts(&metrics, 1.0, 1.0, 0.0);
    assert_eq!(count(&metrics, "httpd_drain_duration_seconds", &[("outcome", "interrupted")]), 1.0);
    assert!(metrics.value("httpd_interrupted_requests_total", &[]).unwrap() >= 2.0);
    if mpm == Mpm::Event {
        let labels = [("type", "hard")];
        let duration = metrics.histogram("httpd_restart_duration_seconds", &labels).unwrap();
        assert_near(duration.sum, truth[1].duration().unwrap());
    }
    drop((held, drained));
}

fn five_signals_are_five_restarts(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    httpd.graceful_times(5, Duration::from_millis(20));
    let gone_through = eventually("the oracle sees the end of the last one", || {
        let completed = httpd.oracle().completed_restarts();
        (completed.len() == httpd.oracle().restarts().len()).then_some(completed.len())
    });
    let total = f64::from(u32::try_from(gone_through).unwrap());
    let metrics = settled(&gracekeeper, total);
    assert_restarts(&metrics, total, 0.0, 0.0);
    assert_eq!(metrics.value("httpd_generation", &[]), Some(total));
}

fn a_stop_and_a_start_are_a_full_restart(mpm: Mpm) {
    let (mut httpd, gracekeeper) = watched(mpm);
    httpd.stop();
    let metrics = gracekeeper.wait_until("the server is down", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0)
            && metrics.value("httpd_stops_total", &[("type", "stop")]) == Some(1.0)
    });
    assert_eq!(metrics.value("httpd_generation", &[]), None);
    assert_eq!(metrics.value("gracekeeper_source_up", &[("source", "scoreboard")]), None);
    httpd.start_again();
    let metrics = settled(&gracekeeper, 1.0);
    assert_restarts(&metrics, 0.0, 0.0, 1.0);
    assert_eq!(metrics.value("httpd_up", &[]), Some(1.0));
    assert_eq!(metrics.total("httpd_stops_total", &[]), 1.0);
}

fn every_worker_busy_hides_nothing(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    let held = httpd.hold_all_workers();
    gracekeeper.wait_until("no worker is free", |metrics| {
        metrics.total("httpd_workers", &[("state", "ready")]) == 0.0
    });
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    let metrics = gracekeeper
        .wait_until("the restart is counted", |metrics| restarts(metrics, "graceful") == 1.0);
    assert_eq!(metrics.value("httpd_up", &[]), Some(1.0));
    held.release();
    let metrics = gracekeeper.wait_until("the drain has ended", |metrics| {
        count(metrics, "httpd_drain_duration_seconds", &[("outcome", "drained")]) == 1.0
    });
    assert_eq!(restarts(&metrics, "unknown"), 0.0);
    httpd.hard();
    let metrics = settled(&gracekeeper, 2.0);
    assert_restarts(&metrics, 1.0, 1.0, 0.0);
}

fn a_killed_parent_leaves_orphans(mpm: Mpm) {
    let (httpd, gracekeeper) = watched(mpm);
    let before = living(&httpd);
    httpd.kill_parent();
    let metrics = gracekeeper.wait_until("the parent's end is seen and explained", |metrics| {
        metrics.value("httpd_up", &[]) == Some(0.0)
            && metrics.value("httpd_stops_total", &[("type", "killed")]) == Some(1.0)
    });
    assert_eq!(metrics.value("httpd_orphaned_children", &[]), Some(f64::from(before)));
    assert_eq!(children(&metrics, "old"), f64::from(before));
    assert_eq!(children(&metrics, "current"), 0.0);
}

fn the_cgid_daemon_and_a_piped_log_are_no_children(mpm: Mpm) {
    let (httpd, gracekeeper) = watch(Httpd::builder(mpm).with_cgid().with_piped_log().start());
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_restarts(&metrics, 1.0, 0.0, 0.0);
    // The old cgid daemon and the old logger have left, new ones have come: none is a child.
    gracekeeper.wait_until("only workers are counted", |metrics| {
        children(metrics, "current") == f64::from(living(&httpd))
            && children(metrics, "old") == 0.0
            && metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
    });
}

fn a_scoreboard_in_a_file_is_read(mpm: Mpm) {
    let (httpd, gracekeeper) = watch(Httpd::builder(mpm).with_scoreboard_file().start());
    httpd.graceful();
    settled(&gracekeeper, 1.0);
    httpd.hard();
    let metrics = settled(&gracekeeper, 2.0);
    assert_restarts(&metrics, 1.0, 1.0, 0.0);
}
