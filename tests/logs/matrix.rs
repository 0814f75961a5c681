//! Every kind of restart with its log: the type comes from the scoreboard, the counts from the log.

use super::{contradictions, decided, ledger::Ledger, lifecycle_codes, restarts, settled, source};
use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, under_every_mpm};

under_every_mpm! {
    every_line_of_every_restart_is_counted_and_contradicts_nothing
    the_lines_of_a_failed_restart_are_counted
    a_log_at_error_tells_restarts_all_the_same
}

fn watch(httpd: &Httpd) -> (Ledger, Gracekeeper) {
    let ledger = Ledger::open(httpd);
    (ledger, super::watched(httpd))
}

fn every_line_of_every_restart_is_counted_and_contradicts_nothing(mpm: Mpm) {
    let mut httpd = Httpd::builder(mpm).start();
    let (ledger, gracekeeper) = watch(&httpd);
    let held = httpd.hold_requests(1);
    httpd.graceful();
    settled(&gracekeeper, 1.0);
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0]);
    held.release();
    httpd.hard();
    httpd.oracle().after_restarts(2);
    settled(&gracekeeper, 2.0);
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    assert_eq!(restarts(&metrics), [1.0, 1.0, 0.0, 0.0]);
    httpd.stop();
    gracekeeper.wait_until("the stop is counted, and no log belongs to nobody", |metrics| {
        metrics.value("httpd_stops_total", &[("type", "stop")]) == Some(1.0)
            && source(metrics, "error_log").is_none()
    });
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    let stopped = [("code", lifecycle_codes(mpm)[3])];
    assert_eq!(metrics.value("httpd_error_log_events_total", &stopped), Some(1.0));
    httpd.start_again();
    settled(&gracekeeper, 3.0);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 4.0);
    assert_eq!(restarts(&metrics), [2.0, 1.0, 1.0, 0.0]);
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    assert_eq!(source(&metrics, "error_log"), Some(1.0));
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(decided(&gracekeeper, httpd.error_log().path()), 0.0);
    assert_eq!(restarts(&gracekeeper.scrape()), [2.0, 1.0, 1.0, 0.0]);
}

fn the_lines_of_a_failed_restart_are_counted(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let (ledger, gracekeeper) = watch(&httpd);
    httpd.rewrite_config(|text| text + "\nNonsense on\n");
    httpd.graceful();
    eventually("the parent ends", || !httpd.parent_is_alive());
    gracekeeper.wait_until("it is counted as a failure", |metrics| {
        metrics.total("httpd_restart_failures_total", &[]) == 1.0
            && metrics.value("httpd_stops_total", &[("type", "failed_restart")]) == Some(1.0)
    });
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    let syntax = [("code", "AH00526")];
    assert!(metrics.value("httpd_error_log_events_total", &syntax).unwrap() >= 1.0);
    assert_eq!(restarts(&metrics), [0.0; 4]);
    assert_eq!(contradictions(&metrics), 0.0);
}

/// Notices are written whatever `LogLevel` says.
fn a_log_at_error_tells_restarts_all_the_same(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).log_level("error").start();
    let (ledger, gracekeeper) = watch(&httpd);
    httpd.graceful();
    settled(&gracekeeper, 1.0);
    httpd.hard();
    settled(&gracekeeper, 2.0);
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    let [resumed, graceful, hard, ..] = lifecycle_codes(mpm);
    for (code, count) in [(resumed, 2.0), (graceful, 1.0), (hard, 1.0)] {
        assert_eq!(metrics.value("httpd_error_log_events_total", &[("code", code)]), Some(count));
    }
    assert_eq!(restarts(&metrics), [1.0, 1.0, 0.0, 0.0]);
    assert_eq!(contradictions(&metrics), 0.0);
}
