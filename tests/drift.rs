//! What is owed to a real httpd, as an operator changes what it was loaded from.

use crate::harness::{Gracekeeper, Httpd, metrics::Metrics};

mod certificates;
mod configuration;
mod held;
mod hostile;

/// Whether a restart is required for this reason; `None` while that is not known.
fn owed(metrics: &Metrics, reason: &str) -> Option<bool> {
    let value = metrics.value("httpd_restart_required", &[("reason", reason)]);
    value.map(|value| value > 0.0)
}

/// Since when, in seconds since the epoch.
fn since(metrics: &Metrics, reason: &str) -> Option<f64> {
    metrics.value("httpd_restart_required_since_timestamp_seconds", &[("reason", reason)])
}

fn valid(metrics: &Metrics) -> Option<f64> {
    metrics.value("httpd_config_valid", &[])
}

/// How often the log says that a restart is required for this reason, and that it is not any more.
fn told(gracekeeper: &Gracekeeper, reason: &str) -> [usize; 2] {
    let (log, reason) = (gracekeeper.log(), format!("reason={reason}"));
    ["msg=\"restart required\"", "msg=\"no restart required\""].map(|message| {
        log.lines().filter(|line| line.contains(message) && line.contains(&reason)).count()
    })
}

/// Watches, and has asked httpd for its files and seen them.
fn watch(httpd: &Httpd) -> Gracekeeper {
    let gracekeeper = Gracekeeper::watching(httpd).start();
    gracekeeper.wait_until("the files are known, and nothing is owed", |metrics| {
        owed(metrics, "config") == Some(false) && valid(metrics) == Some(1.0)
    });
    gracekeeper
}
