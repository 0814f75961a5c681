//! The forecast of a graceful restart's memory, against what it then takes: of a real httpd each of
//! whose children owns memory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use procfs::process::{Process, SmapsRollup};
use serde_json::Value;
use tempfile::TempDir;

use super::cgroup::Cgroup;
use crate::harness::{Gracekeeper, Httpd, Mpm, configuration, eventually, metrics::Metrics};

const MEGABYTE: u64 = 1 << 20;
const CHILDREN: u32 = 3;

/// A library for `LoadFile`, after which each child owns so much.
fn owning(directory: &Path, megabytes: u64) -> PathBuf {
    let library = directory.join(format!("own_{megabytes}.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/headroom/own_memory.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-pthread"])
        .arg(format!("-DOWN_BYTES={}", megabytes * MEGABYTE))
        .arg("-o")
        .args([&library, &source])
        .status();
    assert!(compiled.unwrap().success(), "cc, which links this test too, compiles the library");
    library
}

/// With so many children that none is started for what is held.
fn builder(mpm: Mpm, library: &Path) -> configuration::Builder {
    let load = format!("LoadFile \"{}\"", library.display());
    Httpd::builder(mpm).start_servers(CHILDREN).extra(&load)
}

fn watch(httpd: &Httpd) -> Gracekeeper {
    Gracekeeper::watching(httpd).watch("interval = \"200ms\"").start()
}

fn rollup(pid: u32) -> Option<SmapsRollup> {
    let process = Process::new(i32::try_from(pid).unwrap()).ok()?;
    process.smaps_rollup().ok().filter(|it| !it.memory_map_rollup.0.is_empty())
}

/// What all children own now.
fn owned(httpd: &Httpd) -> u64 {
    let rollups = httpd.oracle().living_pids().into_iter().filter_map(rollup);
    let private = |it: SmapsRollup| {
        let figures = &it.memory_map_rollup.0[0].extension.map;
        figures["Private_Clean"] + figures["Private_Dirty"]
    };
    rollups.map(private).sum()
}

fn bytes(metrics: &Metrics, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes of a small httpd are whole and exact"
    )]
    metrics.value(name, labels).map(|it| it as u64)
}

fn forecast(metrics: &Metrics) -> Option<u64> {
    bytes(metrics, "httpd_restart_memory_forecast_bytes", &[])
}

fn peak(metrics: &Metrics) -> Option<u64> {
    bytes(metrics, "httpd_restart_memory_peak_bytes", &[])
}

fn fits(metrics: &Metrics) -> Option<bool> {
    metrics.value("httpd_restart_fits", &[("resource", "memory")]).map(|it| it == 1.0)
}

fn children(metrics: &Metrics, generation: &str) -> Option<f64> {
    metrics.value("httpd_children", &[("generation", generation)])
}

/// All children of the running generation live, and what they own is known.
fn is_whole(metrics: &Metrics, megabytes: u64) -> bool {
    let private = bytes(metrics, "httpd_memory_private_bytes", &[("role", "current")]);
    children(metrics, "current") == Some(f64::from(CHILDREN))
        && private.is_some_and(|it| it >= u64::from(CHILDREN) * megabytes * MEGABYTE)
}

/// Within a quarter, or within what a small httpd has beside.
fn is_near(one: u64, other: u64) -> bool {
    one.abs_diff(other) <= (one.max(other) / 4).max(4 * MEGABYTE)
}

/// A graceful restart until the new generation is whole: what its children owned at most beside
/// what they owned before, seen every few milliseconds.
fn restart(httpd: &Httpd, gracekeeper: &Gracekeeper, megabytes: u64) -> u64 {
    let before = httpd.oracle().living_pids();
    let owned_before = owned(httpd);
    let (is_over, highest) = (AtomicBool::new(false), Mutex::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let now = owned(httpd).saturating_sub(owned_before);
                let mut highest = highest.lock().unwrap();
                *highest = now.max(*highest);
                drop(highest);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let restarts = httpd.oracle().completed_restarts().len();
        httpd.graceful();
        httpd.oracle().after_restarts(restarts + 1);
        eventually("the new generation is there", || {
            let living = httpd.oracle().living_pids();
            living.iter().filter(|pid| !before.contains(pid)).count() >= CHILDREN as usize
        });
        gracekeeper.wait_until("it is seen", |metrics| is_whole(metrics, megabytes));
        is_over.store(true, Ordering::Relaxed);
    });
    highest.into_inner().unwrap()
}

/// The forecast while so many children at least are held. A request is taken for short while it is
/// new, and a look may come when only some are old: the next ones find all.
fn wait_until_known(gracekeeper: &Gracekeeper, what: &str, megabytes: u64, held: u64) -> u64 {
    let is_known = |metrics: &Metrics| {
        let stays = |it| it >= held * megabytes * MEGABYTE * 3 / 4;
        is_whole(metrics, megabytes) && forecast(metrics).is_some_and(stays)
    };
    let looks = |it: &Metrics| it.value("gracekeeper_look_duration_seconds_count", &[]);
    let before = looks(&gracekeeper.wait_until(what, is_known)).expect("it looks");
    let metrics = gracekeeper.wait_until("it is so in the next looks", |metrics| {
        is_known(metrics) && looks(metrics) >= Some(before + 2.0)
    });
    forecast(&metrics).expect("the forecast is known")
}

fn the_forecast_is_what_a_restart_takes(mpm: Mpm, megabytes: u64, httpd: &Httpd) {
    let gracekeeper = watch(httpd);
    let case = format!("{mpm:?} with children of {megabytes} MB");
    let first = wait_until_known(&gracekeeper, "the idle server is known", megabytes, 0);
    let taken = restart(httpd, &gracekeeper, megabytes);
    let shown = gracekeeper.wait_until("the idle restart was measured", |it| peak(it).is_some());
    let shown = peak(&shown).unwrap();
    eprintln!("{case}, idle: forecast {first}, shown {shown}, taken {taken}");
    assert!(is_near(first, taken) && is_near(first, shown), "{case}, idle");

    // A child of event has five workers, so that six hold two children at least.
    let held = httpd.hold_requests(if mpm == Mpm::Event { 6 } else { 2 });
    let first = wait_until_known(&gracekeeper, "who is held is known", megabytes, 2);
    let taken = restart(httpd, &gracekeeper, megabytes);
    let shown = gracekeeper.wait_until("what it took is shown", |metrics| {
        peak(metrics).is_some_and(|shown| is_near(shown, taken))
    });
    let shown = peak(&shown).unwrap();
    eprintln!("{case}, held: forecast {first}, shown {shown}, taken {taken}");
    assert!(taken >= 2 * megabytes * MEGABYTE, "{case}: two stayed");
    assert!(is_near(first, taken) && is_near(first, shown), "{case}, held");
    held.release();
    gracekeeper.wait_until("nobody is old", |metrics| children(metrics, "old") == Some(0.0));
    let again = peak(&gracekeeper.scrape()).unwrap();
    assert!(again >= shown, "{case}: the peak falls from {shown} to {again}");
}

/// At the same time, because each spends its time waiting.
#[test]
fn the_forecast_of_memory_is_what_a_restart_takes() {
    let directory = TempDir::with_prefix("own-").unwrap();
    let libraries = [5, 20, 60].map(|megabytes| (megabytes, owning(directory.path(), megabytes)));
    open(directory.path());
    thread::scope(|scope| {
        for (megabytes, library) in &libraries {
            for mpm in [Mpm::Event, Mpm::Prefork] {
                scope.spawn(move || {
                    let httpd = builder(mpm, library).start();
                    the_forecast_is_what_a_restart_takes(mpm, *megabytes, &httpd);
                });
            }
        }
        // A parent that detached itself was forked, too, and owns what its children do.
        let [_, (megabytes, library), _] = &libraries;
        scope.spawn(move || {
            let httpd = builder(Mpm::Event, library).daemonised().start();
            the_forecast_is_what_a_restart_takes(Mpm::Event, *megabytes, &httpd);
        });
    });
}

/// httpd's children are another user's.
fn open(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
}

const LIMIT: &str = "memory.limit_in_bytes";

/// Leaves so many bytes beside what is used now.
fn leave(cgroup: &Cgroup, room: u64) {
    cgroup.set(LIMIT, cgroup.number("memory.usage_in_bytes") + room);
}

fn kills(cgroup: &Cgroup) -> u64 {
    cgroup.value("memory.oom_control", "oom_kill")
}

#[test]
fn a_restart_that_a_memory_limit_kills_did_not_fit_and_one_that_survives_did() {
    const OWN: u64 = 20;
    let Some(cgroup) = Cgroup::new("memory") else { return };
    let directory = TempDir::with_prefix("own-").unwrap();
    open(directory.path());
    let httpd = builder(Mpm::Prefork, &owning(directory.path(), OWN)).start();
    // What was there stays where it was counted: a hard restart makes all of it anew.
    cgroup.set("cgroup.procs", httpd.pid());
    let restarts = httpd.oracle().completed_restarts().len();
    httpd.hard();
    httpd.oracle().after_restarts(restarts + 1);
    let gracekeeper = watch(&httpd);
    wait_until_known(&gracekeeper, "the idle server is known", OWN, 0);

    let held = httpd.hold_requests(2);
    let needed = wait_until_known(&gracekeeper, "who is held is known", OWN, 2);
    leave(&cgroup, needed + needed / 2);
    gracekeeper.wait_until("there is room", |metrics| fits(metrics) == Some(true));
    restart(&httpd, &gracekeeper, OWN);
    assert_eq!(kills(&cgroup), 0, "nobody is killed");
    held.release();
    cgroup.set(LIMIT, -1);
    gracekeeper.wait_until("nobody is old", |metrics| children(metrics, "old") == Some(0.0));

    let held = httpd.hold_requests(2);
    let needed = wait_until_known(&gracekeeper, "who is held is known again", OWN, 2);
    leave(&cgroup, needed / 2);
    gracekeeper.wait_until("there is no room", |metrics| fits(metrics) == Some(false));
    assert_eq!(kills(&cgroup), 0, "nobody is killed before");
    httpd.graceful();
    eventually("somebody is killed for want of memory", || kills(&cgroup) > 0);
    gracekeeper.wait_until("it is counted", |it| it.total("httpd_oom_kills_total", &[]) >= 1.0);
    drop(held);
    cgroup.set(LIMIT, -1);
    drop(httpd);
}

fn slots_fit(metrics: &Metrics) -> Option<bool> {
    metrics.value("httpd_restart_fits", &[("resource", "slots")]).map(|it| it == 1.0)
}

#[test]
fn a_restart_that_finds_no_slot_did_not_fit() {
    for mpm in [Mpm::Event, Mpm::Prefork] {
        let workers = if mpm == Mpm::Event { 10 } else { 2 };
        let httpd = Httpd::builder(mpm).server_limit(2).max_request_workers(workers).start();
        let gracekeeper = watch(&httpd);
        gracekeeper.wait_until("an idle restart fits", |it| slots_fit(it) == Some(true));
        // Each child of event is held, though most of its workers are not.
        let held = httpd.hold_requests(if mpm == Mpm::Event { 6 } else { 2 });
        gracekeeper.wait_until("no slot is left", |it| slots_fit(it) == Some(false));
        httpd.graceful();
        gracekeeper.wait_until("no new child comes", |metrics| {
            metrics.value("httpd_restarts_total", &[("type", "graceful")]) == Some(1.0)
                && children(metrics, "current") == Some(0.0)
                && children(metrics, "old") == Some(2.0)
                && metrics.value("httpd_serving", &[]) == Some(0.0)
        });
        held.release();
        gracekeeper.wait_until("it fits again", |metrics| {
            slots_fit(metrics) == Some(true) && children(metrics, "current") >= Some(1.0)
        });
    }
}

#[test]
fn a_new_child_of_worker_takes_the_slot_of_one_that_is_held() {
    let httpd = Httpd::builder(Mpm::Worker).server_limit(2).max_request_workers(10).start();
    let gracekeeper = watch(&httpd);
    let tasks = || {
        let status: Value = serde_json::from_str(&gracekeeper.get("/api/v1/status").body).unwrap();
        status.pointer("/servers/0/headroom/pids/needed").and_then(Value::as_u64)
    };
    // Each child makes its workers by a thread that ends.
    eventually("what an idle restart needs is known", || tasks() == Some(2));
    // Five workers each: no child is without a worker that can leave.
    let held = httpd.hold_requests(4);
    gracekeeper.wait_until("who is held is known, and a restart fits", |metrics| {
        // Four workers go on, and of each of their children two more threads.
        slots_fit(metrics) == Some(true) && tasks() >= Some(2 + 6)
    });
    httpd.graceful();
    gracekeeper.wait_until("new children come beside the old ones", |metrics| {
        children(metrics, "old") >= Some(1.0) && children(metrics, "current") >= Some(1.0)
    });
    held.release();
}
