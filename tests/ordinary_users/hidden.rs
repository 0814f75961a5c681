//! Permissions that are missing, one by one: what is down, why, and said once; nothing is invented.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use rustix::process::geteuid;

use super::{over, restarts, truth};
use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics, under_every_mpm};

under_every_mpm! {
    a_directory_of_the_configuration_that_is_closed_hides_no_restart
    a_directory_of_the_pid_file_that_is_closed_invents_nothing
    a_procfs_that_hides_others_tells_nothing_and_says_so
}

fn close(directory: &Path) {
    fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
}

fn source(metrics: &Metrics, source: &str) -> Option<f64> {
    metrics.value("gracekeeper_source_up", &[("source", source)])
}

fn said(gracekeeper: &Gracekeeper, words: &str) -> usize {
    gracekeeper.log().lines().filter(|line| line.contains(words)).count()
}

#[track_caller]
fn never_wrong(httpd: &Httpd, metrics: &Metrics) {
    let told = restarts(metrics);
    for (told, truth) in told.iter().zip(truth(httpd)) {
        assert!(*told <= truth, "{told:?}, truth {truth:?}");
    }
    assert!(told.iter().sum::<f64>() <= truth(httpd).iter().sum::<f64>());
    assert_eq!(metrics.total("httpd_stops_total", &[]), 0.0);
    assert_eq!(metrics.value("httpd_restart_in_progress", &[]), Some(0.0));
    assert_eq!(metrics.value("httpd_restart_hung", &[]), Some(0.0));
}

fn a_directory_of_the_configuration_that_is_closed_hides_no_restart(mpm: Mpm) {
    if !geteuid().is_root() {
        return;
    }
    let httpd = Httpd::builder(mpm).start();
    let closed = httpd.directory().join("conf");
    fs::create_dir(&closed).unwrap();
    fs::rename(httpd.configuration_file(), closed.join("httpd.conf")).unwrap();
    std::os::unix::fs::symlink(closed.join("httpd.conf"), httpd.configuration_file()).unwrap();
    close(&closed);
    let gracekeeper =
        Gracekeeper::watching(&httpd).server("error_log = \"none\"").run_by_nobody().start();
    super::seen_serving(&httpd, &gracekeeper);
    for restart in [Httpd::graceful, Httpd::hard] {
        restart(&httpd);
        let metrics = over(&httpd, &gracekeeper);
        never_wrong(&httpd, &metrics);
        super::seen_serving(&httpd, &gracekeeper);
    }
    let metrics = over(&httpd, &gracekeeper);
    assert_eq!(restarts(&metrics).iter().sum::<f64>(), 2.0, "the pid file tells them");
    assert_eq!(
        (source(&metrics, "process_table"), source(&metrics, "scoreboard")),
        (Some(1.0), Some(0.0))
    );
    assert_eq!(said(&gracekeeper, "gives nothing\" server=main source=scoreboard"), 1);
}

fn a_directory_of_the_pid_file_that_is_closed_invents_nothing(mpm: Mpm) {
    if !geteuid().is_root() {
        return;
    }
    let httpd = Httpd::builder(mpm).start();
    close(&httpd.directory().join("run"));
    // Named by its pid file it is not found, which is said; by discovery it is.
    let named = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let gracekeeper = Gracekeeper::discovering().run_by_nobody().start();
    let name = httpd.directory().file_name().unwrap().to_str().unwrap().to_owned();
    gracekeeper.wait_until("it is up", |metrics| {
        metrics.value("httpd_up", &[("server", &name)]) == Some(1.0)
    });
    let of = |metrics: &Metrics, metric: &str| metrics.total(metric, &[("server", &name)]);
    for restart in [Httpd::graceful, Httpd::hard].repeat(3) {
        let count = httpd.oracle().completed_restarts().len();
        restart(&httpd);
        httpd.oracle().after_restarts(count + 1);
        let looks = super::looks(&gracekeeper.scrape());
        let metrics =
            gracekeeper.wait_until("it looks on", |metrics| super::looks(metrics) >= looks + 3.0);
        assert_eq!(of(&metrics, "httpd_restart_in_progress"), 0.0, "{}", gracekeeper.log());
        assert_eq!(of(&metrics, "httpd_stops_total"), 0.0);
        assert!(of(&metrics, "httpd_restarts_total") <= truth(&httpd).iter().sum::<f64>());
        let labels = [("server", name.as_str()), ("type", "graceful")];
        assert!(metrics.total("httpd_restarts_total", &labels) <= truth(&httpd)[0]);
        let labels = [("server", name.as_str()), ("type", "hard")];
        assert!(metrics.total("httpd_restarts_total", &labels) <= truth(&httpd)[1]);
    }
    let metrics = named.scrape();
    assert_eq!(metrics.value("httpd_up", &[]), Some(0.0));
    assert_eq!(said(&named, "pid file names no httpd"), 1, "{}", named.log());
    assert!(named.log().contains("ermission denied"), "{}", named.log());
}

/// A procfs that shows each user his own processes only, unmounted when dropped.
struct Hidden<'a>(&'a Path);

impl<'a> Hidden<'a> {
    fn mount(place: &'a Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "proc", "-o", "hidepid=invisible", "proc"]).arg(place);
        assert!(mount.status().unwrap().success());
        Self(place)
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0).status().unwrap().success());
    }
}

fn a_procfs_that_hides_others_tells_nothing_and_says_so(mpm: Mpm) {
    if !geteuid().is_root() {
        return;
    }
    let httpd = Httpd::builder(mpm).start();
    let place = httpd.directory().join("proc");
    fs::create_dir(&place).unwrap();
    let hidden = Hidden::mount(&place);
    let gracekeeper = Gracekeeper::watching(&httpd)
        .arguments(&["--path.procfs", place.to_str().unwrap()])
        .server("error_log = \"none\"")
        .run_by_nobody()
        .start();
    for restart in [Httpd::graceful, Httpd::hard] {
        let count = httpd.oracle().completed_restarts().len();
        restart(&httpd);
        httpd.oracle().after_restarts(count + 1);
        let looks = super::looks(&gracekeeper.scrape());
        let metrics =
            gracekeeper.wait_until("it looks on", |metrics| super::looks(metrics) >= looks + 2.0);
        assert_eq!(source(&metrics, "process_table"), Some(0.0));
        let reason = [("source", "process_table"), ("reason", "permission")];
        assert!(metrics.value("gracekeeper_source_errors_total", &reason).unwrap() > 0.0);
        assert_eq!(restarts(&metrics), [0.0; 4]);
        assert_eq!(metrics.value("httpd_up", &[]), None);
    }
    assert_eq!(said(&gracekeeper, "gives nothing"), 1, "{}", gracekeeper.log());
    drop(gracekeeper);
    drop(hidden);
}
