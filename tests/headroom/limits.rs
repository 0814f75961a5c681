//! What host and cgroups leave a real httpd, against the kernel's own files.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::cgroup::Cgroup;
use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics};

const MEBIBYTE: u64 = 1 << 20;

fn headroom(metrics: &Metrics, scope: &str) -> Option<f64> {
    metrics.value("httpd_memory_headroom_bytes", &[("scope", scope)])
}

fn kills(metrics: &Metrics) -> Option<f64> {
    metrics.value("httpd_oom_kills_total", &[])
}

fn pids_fit(metrics: &Metrics) -> Option<f64> {
    metrics.value("httpd_restart_fits", &[("resource", "pids")])
}

/// Nearer than what changes on a busy host within a second.
#[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 bytes of memory")]
fn is_near(said: Option<f64>, by_hand: u64, mebibytes: u64) -> bool {
    said.is_some_and(|said| (said - by_hand as f64).abs() <= (mebibytes * MEBIBYTE) as f64)
}

/// As the documentation of the kernel has it, file by file.
fn left_by_hand(cgroup: &Cgroup) -> u64 {
    let cache = ["total_active_file", "total_inactive_file"];
    let cache: u64 = cache.iter().map(|key| cgroup.value("memory.stat", key)).sum();
    cgroup.number("memory.limit_in_bytes") - cgroup.number("memory.usage_in_bytes") + cache
}

/// Runs a line of a shell in the cgroup; whether it succeeded.
fn run_in(cgroup: &Cgroup, line: &str) -> bool {
    let line = format!("echo 0 > {} && {line}", cgroup.processes().display());
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &line]).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().unwrap().success()
}

#[test]
fn memory_that_cgroups_leave_is_told_as_the_kernel_has_it_and_a_kill_counts_once() {
    let Some(outer) = Cgroup::new("memory") else { return };
    let inner = outer.inner();
    outer.set("memory.limit_in_bytes", 120 * MEBIBYTE);
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let metrics = gracekeeper.wait_until("the host's memory is told", |metrics| {
        headroom(metrics, "host").is_some() && kills(metrics).is_some()
    });
    assert_eq!(kills(&metrics), Some(0.0), "there from the first look");
    assert!(metrics.total("httpd_pressure_stalled_seconds_total", &[]) >= 0.0);
    inner.take(&httpd);
    inner.set("memory.limit_in_bytes", 400 * MEBIBYTE);
    let file = httpd.directory().join("cached");
    let write = format!("head -c 60M /dev/zero > {0} && cat {0}", file.display());
    assert!(run_in(&inner, &write));
    assert!(outer.number("memory.usage_in_bytes") > 55 * MEBIBYTE, "the cache is the cgroup's");
    gracekeeper.wait_until("the outer limit counts, less what cannot be taken back", |metrics| {
        let left = left_by_hand(&outer);
        left > 90 * MEBIBYTE && is_near(headroom(metrics, "cgroup"), left, 2)
    });
    gracekeeper.wait_until("the host has what /proc/meminfo says", |metrics| {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        is_near(headroom(metrics, "host"), kilobytes * 1024, 256)
    });
    inner.set("memory.limit_in_bytes", 80 * MEBIBYTE);
    gracekeeper.wait_until("the inner limit is tighter now", |metrics| {
        is_near(headroom(metrics, "cgroup"), left_by_hand(&inner), 2)
            && headroom(metrics, "cgroup") < Some(84e6)
    });

    // As much as is said to be left can be had; more is not.
    let left = left_by_hand(&inner);
    let take = |bytes| run_in(&inner, &format!("head -c {bytes} /dev/zero | tail -c {bytes}"));
    assert!(take(left - 8 * MEBIBYTE), "the cache was taken back");
    assert_eq!(kills(&gracekeeper.scrape()), Some(0.0));
    assert!(!take(left + 30 * MEBIBYTE), "killed");
    gracekeeper.wait_until("the kill is counted", |metrics| kills(metrics) == Some(1.0));
    assert_eq!(inner.value("memory.oom_control", "oom_kill"), 1);
    httpd.graceful();
    gracekeeper.wait_until("once only, also over a restart", |metrics| {
        metrics.value("httpd_restarts_total", &[("type", "graceful")]) == Some(1.0)
            && kills(metrics) == Some(1.0)
    });
    fs::remove_file(file).unwrap();
}

/// What the status says of process numbers: needed, available.
fn pids(gracekeeper: &Gracekeeper) -> Option<(u64, u64)> {
    let status: Value = serde_json::from_str(&gracekeeper.get("/api/v1/status").body).unwrap();
    let pids = status.pointer("/servers/0/headroom/pids")?;
    Some((pids["needed"].as_u64()?, pids["available"].as_u64()?))
}

/// Neither a child (AH00159, AH00481) nor a thread of one (AH03104, AH00474) could be made.
fn refusals(httpd: &Httpd) -> usize {
    let text = httpd.error_log().text();
    ["AH00159", "AH00481", "AH03104", "AH00474"].iter().map(|it| text.matches(it).count()).sum()
}

/// A restart under a limit that leaves what it is said to need, and one under a tighter limit, each
/// while requests hold so many children that it needs more than `least`.
fn a_limit_of_process_numbers(mpm: Mpm, start: u32, requests: usize, least: u64) {
    let Some(cgroup) = Cgroup::new("pids") else { return };
    let httpd = Httpd::builder(mpm).start_servers(start).start();
    cgroup.take(&httpd);
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    gracekeeper
        .wait_until("without a limit there is room", |metrics| pids_fit(metrics) == Some(1.0));
    let limit = |more| cgroup.set("pids.max", cgroup.number("pids.current") + more);
    let need = || pids(&gracekeeper).filter(|(needed, _)| *needed > least);
    let held = httpd.hold_requests(requests);
    gracekeeper.wait_until("just enough is enough", |metrics| {
        let Some((needed, available)) = need() else { return false };
        limit(needed);
        needed == available && pids_fit(metrics) == Some(1.0)
    });
    httpd.graceful();
    gracekeeper.wait_until("the new generation is there", |metrics| {
        metrics.value("httpd_children", &[("generation", "current")]) >= Some(f64::from(start))
            && metrics.value("httpd_children", &[("generation", "old")]) >= Some(1.0)
    });
    assert_eq!(refusals(&httpd), 0);
    fs::write(cgroup.file("pids.max"), "max").unwrap();
    drop(held);
    gracekeeper.wait_until("the old generation has left", |metrics| {
        metrics.value("httpd_children", &[("generation", "old")]) == Some(0.0)
    });

    let held = httpd.hold_requests(requests);
    gracekeeper.wait_until("requests hold children again", |_| need().is_some());
    limit(least);
    gracekeeper.wait_until("it would not fit", |metrics| pids_fit(metrics) == Some(0.0));
    assert_eq!(refusals(&httpd), 0);
    httpd.graceful();
    eventually("httpd cannot make what it needs", || refusals(&httpd) > 0);
    fs::write(cgroup.file("pids.max"), "max").unwrap();
    drop(held);
}

#[test]
fn too_few_process_numbers_for_the_threads_of_a_restart_are_told_before_it() {
    a_limit_of_process_numbers(Mpm::Event, 2, 6, 6);
}

#[test]
fn too_few_process_numbers_for_the_children_of_a_restart_are_told_before_it() {
    a_limit_of_process_numbers(Mpm::Prefork, 4, 3, 0);
}
