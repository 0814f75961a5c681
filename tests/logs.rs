//! The error log and `mod_status` beside real restarts: what they tell is counted to the line, and
//! nothing that they tell alone is believed.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics, process::children_of};

mod bell;
mod flood;
mod forged;
mod ledger;
mod matrix;
mod no_file;
mod rotation;
mod server_status;
mod turns;
mod unprivileged;

/// What gracekeeper has resident, its reading process included, in KiB.
fn resident(gracekeeper: &Gracekeeper) -> u64 {
    let of = |pid: u32| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
    };
    let readers = children_of(gracekeeper.pid());
    assert_eq!(readers.len(), 1, "one process watches, one reads");
    of(gracekeeper.pid()) + readers.into_iter().map(of).sum::<u64>()
}

/// Returns when the log is followed and the server serves.
fn seen_serving(gracekeeper: &Gracekeeper) -> Metrics {
    gracekeeper.wait_until("the server is seen serving, and its log followed", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
            && source(metrics, "error_log") == Some(1.0)
    })
}

fn watched(httpd: &Httpd) -> Gracekeeper {
    let gracekeeper = Gracekeeper::watching(httpd).start();
    seen_serving(&gracekeeper);
    gracekeeper
}

fn source(metrics: &Metrics, source: &str) -> Option<f64> {
    metrics.value("gracekeeper_source_up", &[("source", source)])
}

fn source_errors(metrics: &Metrics, source: &str) -> Vec<(String, f64)> {
    metrics
        .series_of("gracekeeper_source_errors_total", &[("source", source)])
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .map(|(labels, count)| (labels["reason"].clone(), count))
        .collect()
}

/// graceful, hard, full, unknown.
fn restarts(metrics: &Metrics) -> [f64; 4] {
    ["graceful", "hard", "full", "unknown"]
        .map(|kind| metrics.value("httpd_restarts_total", &[("type", kind)]).unwrap())
}

fn contradictions(metrics: &Metrics) -> f64 {
    metrics.total("gracekeeper_contradictions_total", &[])
}

/// Returns when so many restarts were counted and the last one serves.
fn settled(gracekeeper: &Gracekeeper, total: f64) -> Metrics {
    gracekeeper.wait_until("every restart is counted and served again", |metrics| {
        metrics.total("httpd_restarts_total", &[]) >= total
            && metrics.value("httpd_restart_in_progress", &[]) == Some(0.0)
            && metrics.value("httpd_serving", &[]) == Some(1.0)
    })
}

/// Returns when nothing that was written until now can be confirmed any more, and how much of all
/// that was ever written is contradicted.
#[track_caller]
fn decided(gracekeeper: &Gracekeeper) -> f64 {
    // Two seconds for a confirmation, and one look to read the line.
    const LATE: f64 = 3.5;
    let looked =
        |metrics: &Metrics| metrics.value("gracekeeper_look_timestamp_seconds", &[]).unwrap();
    let now = looked(&gracekeeper.scrape());
    let metrics =
        gracekeeper.wait_until("every line is decided", |metrics| looked(metrics) >= now + LATE);
    contradictions(&metrics)
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = File::options().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// How often a line of the own log contains all of these.
fn said(gracekeeper: &Gracekeeper, words: &[&str]) -> usize {
    let log = gracekeeper.log();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// Lines of the life cycle as this MPM writes them: resumed, graceful, hard, stopped, stopping.
fn lifecycle_codes(mpm: Mpm) -> [&'static str; 5] {
    match mpm {
        Mpm::Event => ["AH00489", "AH00493", "AH00494", "AH00491", "AH00492"],
        Mpm::Worker => ["AH00292", "AH00297", "AH00298", "AH00295", "AH00296"],
        Mpm::Prefork => ["AH00163", "AH00171", "AH00173", "AH00169", "AH00170"],
    }
}

/// Waits until `mod_status` tells this generation.
#[track_caller]
fn eventually_generation(httpd: &Httpd, generation: u32) {
    crate::harness::eventually("the generation has moved", || {
        httpd.generation() == Some(generation)
    });
}
