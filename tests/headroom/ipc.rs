//! Semaphores and shared memory of a real httpd: counted, and too few for a restart. In an IPC
//! namespace of their own, whose limits are nobody else's.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Signal, geteuid};

use crate::harness::{Gracekeeper, Httpd, Mpm, eventually, metrics::Metrics, not_tested};

const MODULES: &str = "/usr/lib/apache2/modules";

/// What a thread starts lives in the namespaces of that thread. Only root may make them.
fn in_own_namespaces(test: fn()) {
    if !geteuid().is_root() {
        not_tested("nobody but root can make an IPC namespace");
        return;
    }
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        mount(&["--make-rprivate", "/"]);
        mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs", "/dev/shm"]);
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success());
}

fn with_semaphores() -> Httpd {
    Httpd::builder(Mpm::Prefork).extra("Mutex sysvsem").start()
}

/// Seconds since the epoch, at which each array was made.
fn arrays() -> Vec<u64> {
    let table = fs::read_to_string("/proc/thread-self/root/proc/sysvipc/sem").unwrap();
    let rows = table.lines().skip(1);
    rows.map(|row| row.split_whitespace().last().unwrap().parse().unwrap()).collect()
}

fn count() -> f64 {
    f64::from(u32::try_from(arrays().len()).unwrap())
}

fn allow(arrays: f64) {
    fs::write("/proc/sys/kernel/sem", format!("32000 1024000000 500 {arrays}")).unwrap();
}

fn owned(metrics: &Metrics, owner: &str) -> Option<f64> {
    metrics.value("httpd_sysv_semaphore_arrays", &[("owner", owner)])
}

fn limit(metrics: &Metrics) -> Option<f64> {
    metrics.value("httpd_sysv_semaphore_arrays_limit", &[])
}

fn fits(metrics: &Metrics, resource: &str) -> Option<f64> {
    metrics.value("httpd_restart_fits", &[("resource", resource)])
}

#[test]
fn a_restart_that_gets_too_few_semaphores_does_not_fit_and_ends_the_parent() {
    in_own_namespaces(|| {
        let httpd = with_semaphores();
        let gracekeeper = Gracekeeper::watching(&httpd).start();
        let all = count();
        assert!(all > 0.0);
        allow(all);
        let metrics = gracekeeper.wait_until("there are just enough", |metrics| {
            // Its own are free by then.
            limit(metrics) == Some(all)
                && owned(metrics, "live") == Some(all)
                && fits(metrics, "semaphores") == Some(1.0)
        });
        assert_eq!(owned(&metrics, "orphan"), Some(0.0));
        httpd.graceful();
        httpd.oracle().after_restarts(1);
        assert!(httpd.parent_is_alive());
        assert_eq!(count(), all, "as many anew");

        allow(all - 1.0);
        gracekeeper.wait_until("there is one too few", |metrics| {
            limit(metrics) == Some(all - 1.0) && fits(metrics, "semaphores") == Some(0.0)
        });
        httpd.graceful();
        eventually("the parent ends", || !httpd.parent_is_alive());
    });
}

#[test]
fn what_a_killed_httpd_left_is_an_orphan() {
    in_own_namespaces(|| {
        let mut httpd = with_semaphores();
        let left = count();
        httpd.kill_parent();
        for process in httpd.processes() {
            process.signal(Signal::KILL);
        }
        eventually("nobody is left", || httpd.processes().is_empty());
        let newest = arrays().into_iter().max().unwrap();
        eventually("its arrays are older than any second parent", || {
            let age = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(newest))
                .unwrap_or_default();
            age > Duration::from_secs(3)
        });
        httpd.start_again();
        let all = count();
        assert!(all > left);
        let gracekeeper = Gracekeeper::watching(&httpd).start();
        gracekeeper.wait_until("each is somebody's", |metrics| {
            owned(metrics, "orphan") == Some(left) && owned(metrics, "live") == Some(all - left)
        });
        gracekeeper
            .wait_until("as many as live fit", |metrics| fits(metrics, "semaphores") == Some(1.0));

        let nobody = Gracekeeper::watching(&httpd).run_by_nobody().start();
        let metrics = nobody.wait_until("nobody sees semaphores too", |metrics| {
            owned(metrics, "live") == Some(all - left)
        });
        assert_eq!(fits(&metrics, "semaphores"), None, "nobody may ask which mutexes it has");
        assert_eq!(fits(&metrics, "shm"), None, "its mappings cannot be read");
        assert_eq!(metrics.value("httpd_sysv_shm_segments", &[("owner", "live")]), Some(0.0));
    });
}

#[test]
fn a_restart_that_gets_too_little_shared_memory_does_not_fit_and_ends_the_parent() {
    in_own_namespaces(|| {
        let modules = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"];
        let load = |name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n");
        let balancer = "<Proxy balancer://two>\nBalancerMember http://127.0.0.1:1\n</Proxy>\n\
                        ProxyPass /two/ balancer://two/";
        let extra = modules.map(load).concat() + balancer;
        let httpd = Httpd::builder(Mpm::Event).with_scoreboard_file().extra(&extra).start();
        let gracekeeper = Gracekeeper::watching(&httpd).start();
        gracekeeper.wait_until("there is enough", |metrics| fits(metrics, "shm") == Some(1.0));
        let held = httpd.hold_requests(1);
        httpd.graceful();
        httpd.oracle().after_restarts(1);
        held.release();
        gracekeeper.wait_until("the old generation is gone", |metrics| {
            metrics
                .histogram("httpd_drain_duration_seconds", &[("outcome", "drained")])
                .unwrap()
                .count
                == 1.0
        });

        // The scoreboard takes four pages, a balancer and its member one each.
        mount(&["-o", "remount,size=28k", "/dev/shm"]);
        gracekeeper.wait_until("there is too little", |metrics| fits(metrics, "shm") == Some(0.0));
        let _held = httpd.hold_requests(1);
        httpd.graceful();
        eventually("the parent ends", || !httpd.parent_is_alive());
    });
}
