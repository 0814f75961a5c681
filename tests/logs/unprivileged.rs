//! The log as a user reads it who may look into no process: found by asking httpd.

use super::{
    contradictions, decided, ledger::Ledger, restarts, said, seen_serving, settled, source,
};
use crate::harness::{Gracekeeper, Httpd, Mpm, program, under_every_mpm};

under_every_mpm! {
    nobody_finds_the_log_by_asking_httpd
}

/// As Debian has it: the name of the log is made with a variable of `envvars`.
fn debian(mpm: Mpm) -> (Httpd, String) {
    let httpd = Httpd::builder(mpm).extra("ErrorLog ${APACHE_LOG_DIR}/error_log").start();
    let script = httpd.directory().join("envvars");
    let logs = httpd.directory().join("logs");
    let text = format!("SUFFIX=\nexport APACHE_LOG_DIR={}$SUFFIX\n", logs.display());
    program::write_script(&script, &text);
    (httpd, format!("environment_file = \"{}\"", script.display()))
}

fn nobody_finds_the_log_by_asking_httpd(mpm: Mpm) {
    let (mut httpd, script) = debian(mpm);
    let ledger = Ledger::open(&httpd);
    let gracekeeper = Gracekeeper::watching(&httpd).server(&script).run_by_nobody().start();
    seen_serving(&gracekeeper);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    let [graceful, hard, full, unknown] = restarts(&metrics);
    assert_eq!((graceful + unknown, hard, full), (1.0, 0.0, 0.0));
    ledger.assert_counted(&gracekeeper, &httpd);
    // Who sees less must not be hurried.
    assert_eq!(decided(&gracekeeper), 0.0);
    httpd.error_log().rotate();
    httpd.graceful();
    settled(&gracekeeper, 2.0);
    assert_eq!(decided(&gracekeeper), 0.0);
    httpd.hard();
    httpd.oracle().after_restarts(3);
    let metrics = settled(&gracekeeper, 3.0);
    let [graceful, hard, full, unknown] = restarts(&metrics);
    assert!(graceful <= 2.0 && hard <= 1.0 && full == 0.0, "{graceful} {hard} {full}");
    assert_eq!(graceful + hard + unknown, 3.0);
    ledger.assert_counted(&gracekeeper, &httpd);
    httpd.stop();
    gracekeeper.wait_until("the stop is counted, and no log belongs to nobody", |metrics| {
        metrics.total("httpd_stops_total", &[]) == 1.0 && source(metrics, "error_log").is_none()
    });
    ledger.assert_counted(&gracekeeper, &httpd);
    httpd.start_again();
    let metrics = settled(&gracekeeper, 4.0);
    assert_eq!(restarts(&metrics)[2], 1.0);
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(decided(&gracekeeper), 0.0);
    assert_eq!(said(&gracekeeper, &["httpd does not tell"]), 0);
}

#[test]
fn a_httpd_that_may_not_be_asked_tells_nobody_where_its_log_is() {
    let (httpd, script) = debian(Mpm::Event);
    let gracekeeper = Gracekeeper::watching(&httpd)
        .watch("ask_httpd = false")
        .server(&script)
        .run_by_nobody()
        .start();
    gracekeeper.wait_until("the log is known to be closed", |metrics| {
        source(metrics, "error_log") == Some(0.0) && metrics.value("httpd_up", &[]) == Some(1.0)
    });
    let words = ["level=WARN", "source=error_log", "reason=permission", "error_log of a"];
    assert_eq!(said(&gracekeeper, &words), 1);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    let [graceful, hard, full, unknown] = restarts(&metrics);
    assert_eq!((graceful + unknown, hard, full), (1.0, 0.0, 0.0));
    assert_eq!(metrics.total("httpd_error_log_lines_total", &[]), 0.0);
}
