//! What somebody does who wants a type to be told wrongly, or whose luck is that bad.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use super::{MOMENT, assert_never_wrong, living, looked_twice, over, seen_serving, watched};
use crate::harness::{
    Gracekeeper, Httpd, Mpm, Process, configuration::Builder, eventually, http, under_every_mpm,
};

under_every_mpm! {
    children_that_are_stopped_in_a_hard_restart_prove_nothing
    a_child_that_is_frozen_in_a_hard_restart_proves_nothing
    children_that_were_killed_before_a_graceful_restart_prove_nothing
    a_configtest_within_a_hard_restart_proves_nothing
    a_graceful_restart_directly_before_a_hard_one_is_never_miscounted
    a_single_child_proves_no_more_than_it_can
}

#[test]
fn prefork_children_that_somebody_terminated_before_a_graceful_restart_prove_nothing() {
    // Their last breath is that of a hard restart: they exit in order.
    gracefully_after(Httpd::builder(Mpm::Prefork), Signal::TERM);
    gracefully_after(Httpd::builder(Mpm::Prefork).start_servers(1).server_limit(1), Signal::TERM);
}

#[test]
fn prefork_children_that_come_and_go_prove_nothing() {
    for servers in [1, 3] {
        let httpd = Httpd::builder(Mpm::Prefork).start_servers(servers).server_limit(servers);
        let Some((httpd, gracekeeper)) = watched(httpd.extra("MaxConnectionsPerChild 1")) else {
            return;
        };
        for _ in 0..12 {
            let load: Vec<_> = (0..servers)
                .map(|_| {
                    let address = httpd.address();
                    thread::spawn(move || http::get(address, "/", Duration::from_secs(5)).is_ok())
                })
                .collect();
            for request in load {
                request.join().unwrap();
            }
            httpd.graceful();
        }
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
    }
}

fn children(httpd: &Httpd) -> Vec<Process> {
    httpd.oracle().living_pids().into_iter().filter_map(Process::open).collect()
}

fn signal(children: &[Process], signal: Signal) {
    for child in children {
        child.signal(signal);
    }
}

/// Waits until each has been reaped, which the parent does once a second.
fn reaped(children: &[Process]) {
    eventually("they are reaped", || {
        children.iter().all(|child| !Path::new(&format!("/proc/{}", child.pid())).exists())
    });
}

/// httpd has children again, and looks have found them.
fn serves_again(httpd: &Httpd, gracekeeper: &Gracekeeper) {
    eventually("httpd serves", || httpd.generation());
    looked_twice(gracekeeper);
}

fn gracefully_after(httpd: Builder, ending: Signal) {
    let Some((httpd, gracekeeper)) = watched(httpd) else { return };
    for gap in [0, 2, 10, 18, 40, 120, 240] {
        let family = children(&httpd);
        signal(&family, ending);
        reaped(&family);
        thread::sleep(Duration::from_millis(gap));
        httpd.signal(Signal::USR1);
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
        serves_again(&httpd, &gracekeeper);
    }
}

fn children_that_were_killed_before_a_graceful_restart_prove_nothing(mpm: Mpm) {
    gracefully_after(Httpd::builder(mpm), Signal::KILL);
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    for _ in 0..3 {
        signal(&children(&httpd), Signal::KILL);
        httpd.signal(Signal::USR1);
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
        serves_again(&httpd, &gracekeeper);
    }
}

fn children_that_are_stopped_in_a_hard_restart_prove_nothing(mpm: Mpm) {
    for servers in [1, 2] {
        let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm).start_servers(servers)) else {
            return;
        };
        // httpd takes stopped children for dead. Who goes on in the few milliseconds between its look
        // at them and ours is not told from one that was never stopped: see the decisions.
        for _ in 0..2 {
            let family = children(&httpd);
            signal(&family, Signal::STOP);
            httpd.signal(Signal::HUP);
            let metrics = over(&httpd, &gracekeeper);
            signal(&family, Signal::CONT);
            assert_never_wrong(&httpd, &metrics);
            // Orphans of a hard restart that is over may serve on.
            signal(&family, Signal::KILL);
            reaped(&family);
            settles(&httpd, &gracekeeper);
        }
    }
}

fn settles(httpd: &Httpd, gracekeeper: &Gracekeeper) {
    gracekeeper.wait_until("its children are known", |metrics| {
        metrics.total("httpd_children", &[]) == f64::from(living(httpd))
    });
}

/// A cgroup of the freezer's hierarchy (v1), taken away when dropped.
struct Freezer(PathBuf);

impl Freezer {
    fn new(name: &str) -> Self {
        let place = Path::new("/sys/fs/cgroup/freezer");
        assert!(place.join("cgroup.procs").exists(), "no freezer hierarchy (cgroup v1) is mounted");
        let cgroup = place.join(name);
        fs::create_dir(&cgroup).unwrap();
        Self(cgroup)
    }

    fn take(&self, child: &Process) {
        fs::write(self.0.join("cgroup.procs"), child.pid().to_string()).unwrap();
    }

    fn set(&self, state: &str) {
        fs::write(self.0.join("freezer.state"), state).unwrap();
        eventually("the freezer has done it", || {
            fs::read_to_string(self.0.join("freezer.state")).unwrap().trim() == state
        });
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _: std::io::Result<()> = fs::write(self.0.join("freezer.state"), "THAWED");
        let pids = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines() {
            let _: std::io::Result<()> =
                fs::write("/sys/fs/cgroup/freezer/cgroup.procs", pid.as_bytes());
        }
        let _: std::io::Result<()> = fs::remove_dir(&self.0);
    }
}

fn a_child_that_is_frozen_in_a_hard_restart_proves_nothing(mpm: Mpm) {
    for servers in [1, 2] {
        let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm).start_servers(servers)) else {
            return;
        };
        let freezer = Freezer::new(&format!("gracekeeper-test-{}", httpd.pid()));
        let family = children(&httpd);
        freezer.take(&family[0]);
        freezer.set("FROZEN");
        httpd.signal(Signal::HUP);
        httpd.oracle().after_restarts(1);
        freezer.set("THAWED");
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
    }
}

fn a_configtest_within_a_hard_restart_proves_nothing(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    for gap in [0, 4, 8, 12, 16] {
        httpd.signal(Signal::HUP);
        thread::sleep(Duration::from_millis(gap));
        let mut test = Command::new("/usr/sbin/apache2")
            .args(["-t", "-d"])
            .arg(httpd.directory())
            .arg("-f")
            .arg(httpd.configuration_file())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(test.wait().unwrap().success());
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
        seen_serving(&httpd, &gracekeeper);
    }
    // Nor is it a restart by itself, also where it follows one.
    let before = super::restarts(&over(&httpd, &gracekeeper));
    fs::read(httpd.configuration_file()).unwrap();
    assert_eq!(super::restarts(&over(&httpd, &gracekeeper)), before);
}

fn a_graceful_restart_directly_before_a_hard_one_is_never_miscounted(mpm: Mpm) {
    let Some((httpd, gracekeeper)) = watched(Httpd::builder(mpm)) else { return };
    for [first, second] in [[Signal::USR1, Signal::HUP], [Signal::HUP, Signal::USR1]].repeat(3) {
        httpd.signal(first);
        thread::sleep(MOMENT);
        httpd.signal(second);
        let metrics = over(&httpd, &gracekeeper);
        assert_never_wrong(&httpd, &metrics);
    }
}

fn a_single_child_proves_no_more_than_it_can(mpm: Mpm) {
    let one = || Httpd::builder(mpm).start_servers(1).server_limit(1);
    for kind in [Signal::USR1, Signal::HUP] {
        let Some((httpd, gracekeeper)) = watched(one()) else { return };
        for _ in 0..4 {
            httpd.signal(kind);
            let metrics = over(&httpd, &gracekeeper);
            assert_never_wrong(&httpd, &metrics);
        }
    }
}
