//! File descriptors of a real httpd: counted, and too few for a restart.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::harness::{
    Gracekeeper, Httpd, Mpm, eventually, http, metrics::Metrics, under_every_mpm,
};

under_every_mpm! {
    a_restart_that_has_too_few_descriptors_does_not_fit_and_ends_the_parent
}

fn open(pid: u32) -> f64 {
    let told = fs::metadata(format!("/proc/{pid}/fd")).unwrap().size();
    f64::from(u32::try_from(told).unwrap())
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn open_by_role(metrics: &Metrics, role: &str) -> Option<f64> {
    metrics.value("httpd_open_fds", &[("role", role)])
}

fn fits(metrics: &Metrics) -> Option<f64> {
    metrics.value("httpd_restart_fits", &[("resource", "fds")])
}

/// Lowers the soft limit, or raises it again: the hard one, which nobody may raise, stays.
fn limit(pid: u32, current: u64) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard = files.split_whitespace().nth(4).and_then(|hard| hard.parse().ok());
    let limit = Rlimit { current: Some(current), maximum: hard };
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

/// What a restart would need, and what there is.
fn figures(gracekeeper: &Gracekeeper) -> (u64, u64) {
    let status: Value = serde_json::from_str(&gracekeeper.get("/api/v1/status").body).unwrap();
    let fds = &status["servers"][0]["headroom"]["fds"];
    (fds["needed"].as_u64().unwrap(), fds["available"].as_u64().unwrap())
}

#[test]
fn descriptors_are_those_of_proc_by_role() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let held = httpd.hold_requests(1);
    httpd.graceful();
    gracekeeper.wait_until("all of them are counted", |metrics| {
        let Some(generations) = httpd.generations_of_children() else { return false };
        let newest = generations.values().max().copied();
        let sum = |is_old: bool| {
            let children = generations.iter().filter(|(_, it)| (Some(**it) != newest) == is_old);
            children.map(|(pid, _)| open(*pid)).sum::<f64>()
        };
        newest > Some(0)
            && open_by_role(metrics, "parent") == Some(open(httpd.pid()))
            && open_by_role(metrics, "current") == Some(sum(false))
            && open_by_role(metrics, "old") == Some(sum(true))
            && sum(true) > 0.0
    });
    limit(httpd.pid(), 64);
    let metrics = gracekeeper.wait_until("the lowered limit is read", |metrics| {
        metrics.value("httpd_max_fds", &[]) == Some(64.0)
    });
    let ratio = metrics.value("httpd_fd_usage_ratio", &[]).unwrap();
    assert_eq!(ratio, open(httpd.pid()) / 64.0);
    held.release();
}

#[test]
fn logs_that_were_added_before_anybody_looked_do_not_count_as_open() {
    let httpd = Httpd::builder(Mpm::Event).start();
    // The kernel stamps files by ticks: what is written in that of the pid file may have been read.
    let (probe, started) = (tempfile::NamedTempFile::new().unwrap(), modified(&httpd.pid_file()));
    eventually("another tick has come", || {
        fs::write(probe.path(), "").unwrap();
        modified(probe.path()) > started + Duration::from_millis(20)
    });
    let log = |number| format!("CustomLog logs/{number} %h\n");
    httpd.rewrite_config(|text| format!("{text}\n{}", (0..60).map(log).collect::<String>()));
    limit(httpd.pid(), 40);
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let metrics = gracekeeper.wait_until("it is told", |metrics| fits(metrics).is_some());
    assert_eq!(fits(&metrics), Some(0.0));
    httpd.graceful();
    eventually("the parent ends", || !httpd.parent_is_alive());
}

fn a_restart_that_has_too_few_descriptors_does_not_fit_and_ends_the_parent(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper.wait_until("it fits", |metrics| fits(metrics) == Some(1.0));
    eventually("there are just enough", || {
        let (needed, available) = figures(&gracekeeper);
        if needed != available {
            limit(httpd.pid(), needed);
        }
        needed == available && fits(&gracekeeper.scrape()) == Some(1.0)
    });
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    eventually("the new generation serves", || {
        let response = http::get(httpd.address(), "/index.html", Duration::from_secs(1));
        response.is_ok_and(|response| response.status == 200)
    });

    // The listener has the last number that is allowed: none is left for the error log.
    limit(httpd.pid(), 4);
    gracekeeper.wait_until("it does not fit", |metrics| fits(metrics) == Some(0.0));
    assert_eq!(figures(&gracekeeper).1, 4);
    httpd.graceful();
    eventually("the parent ends", || !httpd.parent_is_alive());
}
