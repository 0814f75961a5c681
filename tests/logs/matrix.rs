//! Every kind of restart with its log: the type comes from the scoreboard, the counts from the log.

use super::{contradictions, decided, ledger::Ledger, lifecycle_codes, restarts, settled, source};
use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, under_every_mpm};

under_every_mpm! {
    every_line_of_every_restart_is_counted_and_contradicts_nothing
    the_lines_of_a_failed_restart_are_counted
    a_log_at_error_tells_restarts_all_the_same
    a_graceful_stop_whose_successor_starts_meanwhile_contradicts_nothing
    a_hard_restart_that_waits_for_a_child_contradicts_nothing
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
    assert_eq!(decided(&gracekeeper), 0.0);
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

fn a_graceful_stop_whose_successor_starts_meanwhile_contradicts_nothing(mpm: Mpm) {
    let mut httpd = Httpd::builder(mpm).start();
    let (ledger, gracekeeper) = watch(&httpd);
    let held = httpd.hold_requests(1);
    gracekeeper.wait_until("the request is seen", |metrics| {
        metrics.total("httpd_workers", &[("state", "sending")]) >= 1.0
    });
    httpd.graceful_stop();
    eventually("its pid file is gone", || !httpd.pid_file().exists());
    // Both write into one file now.
    httpd.start_again();
    ledger.assert_counted(&gracekeeper, &httpd);
    held.release();
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [0.0, 0.0, 1.0, 0.0]);
    let stops = [("type", "graceful_stop")];
    assert_eq!(metrics.value("httpd_stops_total", &stops), Some(1.0));
    assert_eq!(metrics.total("httpd_stops_total", &[]), 1.0);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 2.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 1.0, 0.0]);
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    assert_eq!(source(&metrics, "error_log"), Some(1.0));
    assert_eq!(decided(&gracekeeper), 0.0);
}

/// Under event and worker the parent waits ten seconds, and worker writes its line after them.
fn a_hard_restart_that_waits_for_a_child_contradicts_nothing(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let (ledger, gracekeeper) = watch(&httpd);
    let held = httpd.hold_requests(1);
    httpd.hard();
    httpd.oracle().after_restarts(1);
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [0.0, 1.0, 0.0, 0.0]);
    ledger.assert_counted(&gracekeeper, &httpd);
    assert_eq!(decided(&gracekeeper), 0.0);
    drop(held);
}

#[test]
fn a_format_of_the_operators_own_contradicts_nothing() {
    let formats = ["%M", "{\\\"level\\\":\\\"%l\\\",\\\"pid\\\":%P,\\\"msg\\\":\\\"%M\\\"}"];
    for (format, level) in formats.into_iter().zip(["none", "notice"]) {
        let httpd = Httpd::builder(Mpm::Event).log_level("notice").start();
        let gracekeeper = super::watched(&httpd);
        httpd.rewrite_config(|text| format!("{text}\nErrorLogFormat \"{format}\"\n"));
        for total in 1_u8..=3 {
            httpd.graceful();
            let metrics = settled(&gracekeeper, f64::from(total));
            assert_eq!(restarts(&metrics), [f64::from(total), 0.0, 0.0, 0.0]);
        }
        // The first line of the first restart is of the old format.
        let metrics = gracekeeper.wait_until("every line is counted", |metrics| {
            ["AH00493", "AH00489"].iter().all(|code| {
                let code = [("code", *code)];
                metrics.value("httpd_error_log_events_total", &code) == Some(3.0)
            })
        });
        let lines = metrics.value("httpd_error_log_lines_total", &[("level", level)]).unwrap();
        assert!(lines >= 5.0, "{lines} lines of level {level}");
        assert_eq!(decided(&gracekeeper), 0.0);
    }
}
