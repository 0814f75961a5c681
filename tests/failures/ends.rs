//! Stops by what ended the parent, and whom it left behind.

use rustix::process::Signal;

use super::{said, seen_serving, stops};
use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics, under_every_mpm};

under_every_mpm! {
    stops_are_told_apart
}

#[track_caller]
fn stopped(gracekeeper: &Gracekeeper, kind: &str, count: f64, total: f64) -> Metrics {
    let metrics = gracekeeper.wait_until("the stop is counted", |metrics| {
        metrics.total("httpd_stops_total", &[]) == total
    });
    assert_eq!(stops(&metrics, kind), count, "{kind}: {}", gracekeeper.log());
    assert_eq!(metrics.value("httpd_up", &[]), Some(0.0));
    metrics
}

fn stops_are_told_apart(mpm: Mpm) {
    let mut httpd = Httpd::builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let serves_again = |httpd: &mut Httpd| {
        httpd.start_again();
        // `httpd_serving` stays for 3 s.
        gracekeeper.wait_until("it is up", |it| it.value("httpd_up", &[]) == Some(1.0));
        seen_serving(&gracekeeper, Some(1.0));
    };
    seen_serving(&gracekeeper, Some(1.0));
    httpd.stop();
    stopped(&gracekeeper, "stop", 1.0, 1.0);
    serves_again(&mut httpd);
    httpd.graceful_stop();
    stopped(&gracekeeper, "graceful_stop", 1.0, 2.0);
    serves_again(&mut httpd);
    let held = httpd.hold_requests(1);
    httpd.graceful_stop();
    gracekeeper
        .wait_until("idle children leave", |metrics| metrics.total("httpd_children", &[]) == 1.0);
    gracekeeper.wait_until("its listeners are closed", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(0.0)
    });
    held.release();
    stopped(&gracekeeper, "graceful_stop", 2.0, 3.0);
    serves_again(&mut httpd);
    httpd.kill_parent();
    let metrics = stopped(&gracekeeper, "killed", 1.0, 4.0);
    let orphans = metrics.value("httpd_orphaned_children", &[]).unwrap();
    assert!(orphans >= 1.0, "they go on serving");
    for process in httpd.processes() {
        process.signal(Signal::KILL);
    }
    let metrics = gracekeeper.wait_until("orphans are followed to their end", |metrics| {
        metrics.value("httpd_orphaned_children", &[]) == Some(0.0)
    });
    assert_eq!(metrics.total("httpd_restart_failures_total", &[]), 0.0);
    assert_eq!(metrics.total("gracekeeper_contradictions_total", &[]), 0.0);
    assert_eq!(said(&gracekeeper, &["child killed"]), 0, "who kills orphans wants that");
}

/// "resuming normal operations", and two seconds later it is gone: no thread can be created.
#[test]
fn children_that_cannot_start_are_a_crash_after_a_restart_that_was_one() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    seen_serving(&gracekeeper, Some(1.0));
    httpd.rewrite_config(|text| format!("{text}\nThreadStackSize 1125899906842624\n"));
    httpd.graceful();
    let metrics = stopped(&gracekeeper, "crash", 1.0, 1.0);
    assert_eq!(metrics.value("httpd_restarts_total", &[("type", "graceful")]), Some(1.0));
    assert_eq!(metrics.total("httpd_restart_failures_total", &[]), 0.0);
    assert_eq!(metrics.value("httpd_last_restart_successful", &[]), Some(1.0));
}
