//! Servers that are counted and not watched: beyond the limit, and in other PID namespaces.
//!
//! gracekeeper runs in a PID namespace of its own here, so that other tests' httpds are none of its
//! own, nor these theirs.

use std::{fmt::Write as _, fs, net::TcpListener, path::Path};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::harness::{Gracekeeper, eventually, metrics::Metrics, process::children_of, program};

/// The configuration of a httpd of few children, in a directory of its own.
fn prepared(place: &Path, number: usize) -> String {
    let directory = place.join(format!("small-{number}"));
    fs::create_dir(&directory).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let shown = directory.display();
    let text = format!(
        "ServerRoot \"{shown}\"\nServerName localhost\nPidFile \"{shown}/httpd.pid\"\n\
         DefaultRuntimeDir \"{shown}\"\nListen 127.0.0.1:{port}\nErrorLog \"{shown}/log\"\n\
         LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
         LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
         StartServers 1\nServerLimit 1\nThreadsPerChild 2\nMaxRequestWorkers 2\n\
         User www-data\nGroup www-data\n",
    );
    fs::write(directory.join("httpd.conf"), text).unwrap();
    format!("/usr/sbin/apache2 -d {shown} -f {shown}/httpd.conf -D FOREGROUND")
}

/// gracekeeper in a PID namespace in which these lines of a shell were run before.
fn beside(place: &Path, lines: &str) -> Gracekeeper {
    let script = place.join("in-its-own-namespace");
    let text = format!(
        "#!/bin/sh\n[ \"$$\" = 1 ] || exec unshare --pid --fork --kill-child --mount-proc \"$0\" \
         \"$@\"\n{lines}{} \"$@\" &\nwait $!\n",
        env!("CARGO_BIN_EXE_gracekeeper")
    );
    program::write_script(&script, &text);
    Gracekeeper::discovering().program(&script).start()
}

fn unwatched(metrics: &Metrics, reason: &str) -> Option<f64> {
    metrics.value("gracekeeper_unwatched_servers", &[("reason", reason)])
}

fn looks(metrics: &Metrics) -> f64 {
    metrics.value("gracekeeper_look_duration_seconds_count", &[]).unwrap()
}

#[track_caller]
fn looks_on(gracekeeper: &Gracekeeper) -> Metrics {
    let before = looks(&gracekeeper.scrape());
    gracekeeper.wait_until("it looks on", |metrics| looks(metrics) >= before + 3.0)
}

#[test]
fn sixteen_servers_are_watched_and_the_next_is_said_and_counted() {
    if !geteuid().is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let mut lines = String::new();
    for number in 0..17 {
        let command = prepared(place.path(), number);
        writeln!(lines, "setsid {command} < /dev/null > /dev/null 2>&1 &").unwrap();
    }
    let gracekeeper = beside(place.path(), &lines);
    gracekeeper.wait_until("one is too many", |metrics| {
        unwatched(metrics, "limit") == Some(1.0)
            && metrics.value("gracekeeper_servers", &[("state", "up")]) == Some(16.0)
    });
    let metrics = looks_on(&gracekeeper);
    assert_eq!(unwatched(&metrics, "limit"), Some(1.0));
    assert_eq!(unwatched(&metrics, "namespace"), Some(0.0));
    assert_eq!(metrics.series_of("httpd_up", &[]).len(), 16);
    let log = gracekeeper.log();
    assert_eq!(log.matches("httpd not watched").count(), 1, "{log}");
}

#[test]
fn a_httpd_of_another_pid_namespace_is_counted_and_said_once() {
    if !geteuid().is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let command = prepared(place.path(), 0);
    let inner = format!("unshare --pid --fork --kill-child --mount-proc {command} < /dev/null &\n");
    let gracekeeper = beside(place.path(), &inner);
    gracekeeper.wait_until("it is counted", |metrics| unwatched(metrics, "namespace") >= Some(1.0));
    eventually("it serves", || place.path().join("small-0/httpd.pid").exists());
    let metrics = looks_on(&gracekeeper);
    let log = gracekeeper.log();
    assert_eq!(unwatched(&metrics, "namespace"), Some(1.0), "whatever its children are: {log}");
    assert!(metrics.series_of("httpd_up", &[]).is_empty());
    assert_eq!(log.matches("other PID namespaces are not watched").count(), 1, "{log}");
    // Process 1 there is the shell, which started the inner httpd's starter before gracekeeper.
    let own = *children_of(gracekeeper.pid()).first().unwrap();
    let starter = *children_of(own).first().unwrap();
    kill_process(Pid::from_raw(starter.cast_signed()).unwrap(), Signal::KILL).unwrap();
    gracekeeper.wait_until("it is gone", |metrics| unwatched(metrics, "namespace") == Some(0.0));
}
