//! What httpd runs and writes to: programs that were replaced, logs that were renamed.

use std::{fs, path::PathBuf};

use super::{owed, since, told, watch};
use crate::harness::{Httpd, Mpm, metrics::Metrics, program};

/// Descriptors of logs under another name, by role.
fn rotated(metrics: &Metrics) -> [Option<f64>; 3] {
    ["parent", "current", "old"]
        .map(|role| metrics.value("httpd_rotated_log_fds", &[("role", role)]))
}

/// A module of the httpd's own, as an upgrade replaces it.
fn module(httpd: &Httpd) -> PathBuf {
    httpd.directory().join("mod_env.so")
}

#[test]
fn a_replaced_module_is_told_within_moments_and_a_graceful_restart_loads_it() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let original = "/usr/lib/apache2/modules/mod_env.so".as_ref();
    program::copy(original, &module(&httpd));
    let load = format!("LoadModule env_module {}\n", module(&httpd).display());
    httpd.rewrite_config(|text| text + &load);
    httpd.graceful();
    let gracekeeper = watch(&httpd);
    gracekeeper.wait_until("it is mapped as it lies there", |metrics| {
        owed(metrics, "module") == Some(false) && owed(metrics, "binary") == Some(false)
    });
    let new = httpd.directory().join("new.so");
    program::copy(original, &new);
    fs::rename(new, module(&httpd)).unwrap();
    let metrics = gracekeeper
        .wait_until("another one lies there", |metrics| owed(metrics, "module") == Some(true));
    assert!(since(&metrics, "module").is_some());
    assert_eq!(owed(&metrics, "config"), Some(false));
    httpd.graceful();
    gracekeeper.wait_until("it is loaded", |metrics| owed(metrics, "module") == Some(false));
    assert_eq!(told(&gracekeeper, "module"), [1, 1]);
}

#[test]
fn renamed_logs_are_counted_until_nobody_writes_to_them() {
    let httpd = Httpd::builder(Mpm::Prefork).start();
    let gracekeeper = watch(&httpd);
    gracekeeper.wait_until("none is renamed", |it| rotated(it) == [Some(0.0); 3]);
    let held = httpd.hold_requests(1);
    httpd.error_log().rotate();
    gracekeeper.wait_until("parent and children write under another name", |metrics| {
        let [parent, current, old] = rotated(metrics);
        parent >= Some(1.0) && current >= Some(2.0) && old == Some(0.0)
    });
    httpd.signal(rustix::process::Signal::USR1);
    gracekeeper.wait_until("only the old generation still does", |metrics| {
        let [parent, current, old] = rotated(metrics);
        parent == Some(0.0) && current == Some(0.0) && old >= Some(1.0)
    });
    held.release();
    gracekeeper.wait_until("nobody does", |metrics| rotated(metrics) == [Some(0.0); 3]);
}
