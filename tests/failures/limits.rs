//! Limits that httpd runs into, and children that crash.

use rustix::process::Signal;

use super::{said, seen_serving};
use crate::harness::{Gracekeeper, Httpd, Mpm, Process, eventually, under_every_mpm};

under_every_mpm! {
    a_limit_and_a_crash_are_told_once_each
}

fn a_limit_and_a_crash_are_told_once_each(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    seen_serving(&gracekeeper, Some(1.0));
    let reached = || said(&gracekeeper, &["limit reached", "what=max_request_workers"]);
    let held = httpd.hold_all_workers();
    eventually("the limit is told", || reached() == 1);
    held.release();
    gracekeeper.wait_until("there is room again", |metrics| {
        metrics.value("httpd_workers", &[("generation", "current"), ("state", "ready")]) > Some(0.0)
    });
    for (signal, name, what) in
        [(Signal::SEGV, "SIGSEGV", "child crashed"), (Signal::KILL, "SIGKILL", "child killed")]
    {
        let child = httpd.oracle().living_pids()[0];
        Process::open(child).unwrap().signal(signal);
        eventually("the crash is told", || said(&gracekeeper, &[what, name]) == 1);
    }
    httpd.graceful();
    httpd.oracle().after_restarts(1);
    seen_serving(&gracekeeper, Some(1.0));
    assert_eq!(said(&gracekeeper, &["limit reached"]), 1);
    assert_eq!(said(&gracekeeper, &["signal=SIG"]), 2, "a graceful restart crashes nobody");
}
