//! Restarts that end their parent, and why; stops told apart; limits and crashes.

mod ends;
mod limits;
mod reasons;

use crate::harness::{Gracekeeper, metrics::Metrics};

/// Returns when the server is seen serving and what is wanted of its log is read.
fn seen_serving(gracekeeper: &Gracekeeper, log: Option<f64>) -> Metrics {
    gracekeeper.wait_until("the server is seen serving", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
            && metrics.value("gracekeeper_source_up", &[("source", "error_log")]) == log
    })
}

fn stops(metrics: &Metrics, kind: &str) -> f64 {
    metrics.value("httpd_stops_total", &[("type", kind)]).unwrap()
}

fn failures(metrics: &Metrics, reason: &str) -> f64 {
    metrics.value("httpd_restart_failures_total", &[("reason", reason)]).unwrap()
}

/// How often a line of the own log contains all of these.
fn said(gracekeeper: &Gracekeeper, words: &[&str]) -> usize {
    let log = gracekeeper.log();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}
