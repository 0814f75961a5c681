//! Logs that are no file that can be read: said once, with what mends it, and counted by reason.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{contradictions, restarts, said, settled, source, source_errors};
use crate::harness::{Gracekeeper, Httpd, Mpm, under_every_mpm};

under_every_mpm! {
    a_piped_log_is_none_that_can_be_read
    a_log_that_goes_to_syslog_is_none_that_can_be_read
}

/// It is silent for this reason, and a restart of each kind is counted all the same.
#[track_caller]
fn assert_silent(httpd: &Httpd, gracekeeper: &Gracekeeper, reason: &str, mend: &str) {
    let metrics = gracekeeper.wait_until("the log is known to be silent", |metrics| {
        source(metrics, "error_log") == Some(0.0)
            && metrics.value("httpd_serving", &[]) == Some(1.0)
    });
    let before = restarts(&metrics)[0];
    httpd.graceful();
    settled(gracekeeper, before + 1.0);
    httpd.hard();
    let metrics = settled(gracekeeper, before + 2.0);
    assert_eq!(restarts(&metrics), [before + 1.0, 1.0, 0.0, 0.0]);
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(source(&metrics, "error_log"), Some(0.0));
    let errors = source_errors(&metrics, "error_log");
    assert_eq!(errors.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), [reason]);
    let reason = format!("reason={reason}");
    assert_eq!(said(gracekeeper, &["level=WARN", "source=error_log", &reason, mend]), 1);
    assert_eq!(said(gracekeeper, &["level=WARN", "source=error_log"]), 1, "and nothing else");
}

fn a_piped_log_is_none_that_can_be_read(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).with_piped_log().start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    assert_silent(&httpd, &gracekeeper, "invalid", "name a file as error_log");
}

fn a_log_that_goes_to_syslog_is_none_that_can_be_read(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = super::watched(&httpd);
    httpd.rewrite_config(|text| text + "\nErrorLog syslog\n");
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0]);
    assert_silent(&httpd, &gracekeeper, "invalid", "name a file as error_log");
}

#[test]
fn a_log_that_is_not_wanted_is_no_source() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).server("error_log = \"none\"").start();
    gracekeeper.wait_until("the server is seen serving", |metrics| {
        metrics.value("httpd_serving", &[]) == Some(1.0)
    });
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(source(&metrics, "error_log"), None);
    assert_eq!(source_errors(&metrics, "error_log"), []);
    assert_eq!(metrics.total("httpd_error_log_lines_total", &[]), 0.0);
    assert_eq!(said(&gracekeeper, &["source=error_log"]), 0);
}

#[test]
fn a_path_that_leads_to_a_fifo_is_never_waited_for() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let fifo = httpd.directory().join("logs/fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let choice = format!("error_log = \"{}\"", fifo.display());
    let gracekeeper = Gracekeeper::watching(&httpd).server(&choice).start();
    assert_silent(&httpd, &gracekeeper, "invalid", "no regular file");
}

#[test]
fn a_path_where_nothing_is_may_be_filled_later() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let path = httpd.directory().join("logs/other_log");
    let choice = format!("error_log = \"{}\"", path.display());
    let gracekeeper = Gracekeeper::watching(&httpd).server(&choice).start();
    assert_silent(&httpd, &gracekeeper, "missing", "mend its path");
    httpd.rewrite_config(|text| text + "\nErrorLog logs/other_log\n");
    httpd.graceful();
    settled(&gracekeeper, 3.0);
    gracekeeper
        .wait_until("the file is followed", |metrics| source(metrics, "error_log") == Some(1.0));
    httpd.graceful();
    settled(&gracekeeper, 4.0);
    gracekeeper.wait_until("and read", |metrics| {
        metrics.value("httpd_error_log_events_total", &[("code", "AH00493")]) == Some(1.0)
    });
    assert_eq!(said(&gracekeeper, &["level=INFO", "source=error_log", "answers again"]), 1);
}

#[test]
fn a_log_that_nobody_may_read_is_told_by_its_permission() {
    let httpd = Httpd::builder(Mpm::Event).start();
    fs::set_permissions(httpd.error_log().path(), Permissions::from_mode(0o640)).unwrap();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let metrics = gracekeeper.wait_until("the log is known to be closed", |metrics| {
        source(metrics, "error_log") == Some(0.0)
    });
    let errors = source_errors(&metrics, "error_log");
    assert_eq!(
        errors.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(),
        ["permission"]
    );
    let words = ["level=WARN", "source=error_log", "reason=permission", "adm"];
    assert_eq!(said(&gracekeeper, &words), 1);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    let [graceful, hard, full, unknown] = restarts(&metrics);
    assert_eq!((graceful + unknown, hard, full), (1.0, 0.0, 0.0));
    fs::set_permissions(httpd.error_log().path(), Permissions::from_mode(0o644)).unwrap();
    gracekeeper.wait_until("it is read as soon as it may be", |metrics| {
        source(metrics, "error_log") == Some(1.0)
    });
}

#[test]
fn nobody_is_told_that_a_log_is_piped() {
    let httpd = Httpd::builder(Mpm::Event).with_piped_log().start();
    let gracekeeper = Gracekeeper::watching(&httpd).run_by_nobody().start();
    let metrics = gracekeeper
        .wait_until("httpd was asked", |metrics| source(metrics, "error_log") == Some(0.0));
    let errors = source_errors(&metrics, "error_log");
    assert_eq!(errors.iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), ["invalid"]);
    let words = ["level=WARN", "source=error_log", "reason=invalid", "name a file as error_log"];
    assert_eq!(said(&gracekeeper, &words), 1);
}

#[test]
fn a_log_that_the_operator_named_and_nobody_may_read_is_told_by_its_permission() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let log = httpd.error_log();
    fs::set_permissions(log.path(), Permissions::from_mode(0o640)).unwrap();
    let choice = format!("error_log = \"{}\"", log.path().display());
    let gracekeeper = Gracekeeper::watching(&httpd).server(&choice).run_by_nobody().start();
    gracekeeper.wait_until("the log is known to be closed", |metrics| {
        source(metrics, "error_log") == Some(0.0)
    });
    let words = ["level=WARN", "source=error_log", "reason=permission", "the group that may read"];
    assert_eq!(said(&gracekeeper, &words), 1);
}
