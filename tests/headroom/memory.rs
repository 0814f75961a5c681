//! Memory by role, and what is left of it where it may not be read.

use procfs::process::{Process, SmapsRollup};
use rustix::process::geteuid;

use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics};

#[test]
fn memory_by_role_is_what_proc_says_of_event() {
    memory_by_role_is_what_proc_says(Mpm::Event);
}

#[test]
fn memory_by_role_is_what_proc_says_of_prefork() {
    memory_by_role_is_what_proc_says(Mpm::Prefork);
}

fn memory_by_role_is_what_proc_says(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    let idle = gracekeeper.wait_until("what is shown is what proc says", |metrics| {
        let children = httpd.oracle().living_pids();
        agrees(metrics, "parent", &[httpd.pid()]) && agrees(metrics, "current", &children)
    });
    assert_eq!(shown(&idle, "old"), Some([0, 0, 0]), "nobody is old");
    assert_eq!(source(&idle), Some(1.0));

    let held = httpd.hold_requests(1);
    let before = httpd.oracle().living_pids();
    httpd.graceful();
    gracekeeper.wait_until("the child that stays counts apart", |metrics| {
        let living = httpd.oracle().living_pids();
        let (old, new): (Vec<u32>, Vec<u32>) = living.iter().partition(|it| before.contains(it));
        old.len() == 1
            && !new.is_empty()
            && agrees(metrics, "old", &old)
            && agrees(metrics, "current", &new)
    });
    held.release();
    gracekeeper.wait_until("nobody is old again", |it| shown(it, "old") == Some([0, 0, 0]));
    httpd.stop();
    gracekeeper.wait_until("nothing is shown of who is gone", |metrics| {
        let series = metrics.series_of("httpd_memory_pss_bytes", &[]);
        metrics.value("httpd_up", &[]) == Some(0.0) && series.is_empty()
    });
}

#[test]
fn memory_that_may_not_be_read_is_absent_and_nothing_else_suffers() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let metrics = gracekeeper.wait_until("it serves", |metrics| {
        let children = metrics.value("httpd_children", &[("generation", "current")]);
        let living = u32::try_from(httpd.oracle().living_pids().len()).unwrap();
        metrics.value("httpd_serving", &[]) == Some(1.0) && children == Some(f64::from(living))
    });
    if !geteuid().is_root() {
        assert_eq!(source(&metrics), Some(1.0), "httpd is the test's own user's");
        return;
    }
    assert_eq!(source(&metrics), Some(0.0));
    let refused = [("source", "memory_maps"), ("reason", "permission")];
    assert!(metrics.total("gracekeeper_source_errors_total", &refused) > 0.0);
    for name in ["httpd_memory_pss_bytes", "httpd_memory_private_bytes", "httpd_swap_bytes"] {
        assert!(metrics.series_of(name, &[]).is_empty(), "{name} is shown");
    }
    let said = gracekeeper.log().matches("source=memory_maps").count();
    assert_eq!(said, 1, "it is said once:\n{}", gracekeeper.log());
}

fn source(metrics: &Metrics) -> Option<f64> {
    metrics.value("gracekeeper_source_up", &[("source", "memory_maps")])
}

/// PSS, private bytes and swap of a role.
fn shown(metrics: &Metrics, role: &str) -> Option<[u64; 3]> {
    let of = |name: &str| metrics.value(name, &[("role", role)]);
    let pss = of("httpd_memory_pss_bytes")?;
    let private = of("httpd_memory_private_bytes")?;
    Some([pss, private, of("httpd_swap_bytes")?].map(bytes))
}

fn agrees(metrics: &Metrics, role: &str, pids: &[u32]) -> bool {
    let by_hand: Option<Vec<[u64; 3]>> = pids.iter().map(|pid| by_hand(*pid)).collect();
    let (Some(shown), Some(by_hand)) = (shown(metrics, role), by_hand) else { return false };
    (0..3).all(|figure| {
        let truth: u64 = by_hand.iter().map(|it| it[figure]).sum();
        shown[figure].abs_diff(truth) <= truth / 10
    })
}

fn by_hand(pid: u32) -> Option<[u64; 3]> {
    let process = Process::new(pid.cast_signed()).ok()?;
    let SmapsRollup { memory_map_rollup } = process.smaps_rollup().ok()?;
    let figures = &memory_map_rollup.0.first()?.extension.map;
    let of = |name: &str| figures.get(name).copied();
    Some([of("Pss")?, of("Private_Clean")? + of("Private_Dirty")?, of("SwapPss")?])
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of bytes")]
fn bytes(value: f64) -> u64 {
    value as u64
}
