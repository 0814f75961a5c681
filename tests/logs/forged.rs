//! Perfect lines that nothing happened for: counted, contradicted once each, believed never.

use std::{fs, time::Duration};

use super::{append, contradictions, ledger::Ledger, lifecycle_codes, restarts, said, watched};
use crate::harness::{Gracekeeper, Httpd, Mpm, http, program, under_every_mpm};

under_every_mpm! {
    a_perfect_line_of_each_kind_is_a_contradiction_and_nothing_else
    a_script_that_writes_a_perfect_line_restarts_nothing
}

/// What httpd writes, with its own pid, in its own format.
fn perfect(httpd: &Httpd) -> [String; 5] {
    let name = match httpd.mpm() {
        Mpm::Event => "mpm_event",
        Mpm::Worker => "mpm_worker",
        Mpm::Prefork => "mpm_prefork",
    };
    let texts = [
        "Apache/2.4.71 (Debian) configured -- resuming normal operations",
        "SIGUSR1 received.  Doing graceful restart",
        "SIGHUP received.  Attempting to restart",
        "caught SIGTERM, shutting down",
        "caught SIGWINCH, shutting down gracefully",
    ];
    let pid = httpd.pid();
    let mut lines = lifecycle_codes(httpd.mpm()).into_iter().zip(texts);
    std::array::from_fn(|_| {
        let (code, text) = lines.next().unwrap();
        format!(
            "[2026-11-22 10:38:22.146666] [{name}:notice] [pid {pid}:tid {pid}] {code}: {text}\n"
        )
    })
}

#[track_caller]
fn nothing_moved(gracekeeper: &Gracekeeper, forged: f64) {
    let metrics = gracekeeper
        .wait_until("every line is contradicted", |metrics| contradictions(metrics) >= forged);
    assert_eq!(contradictions(&metrics), forged);
    assert_eq!(restarts(&metrics), [0.0; 4]);
    assert_eq!(metrics.total("httpd_stops_total", &[]), 0.0);
    assert_eq!(metrics.total("httpd_restart_failures_total", &[]), 0.0);
    assert_eq!(metrics.value("httpd_up", &[]), Some(1.0));
    assert_eq!(metrics.value("httpd_serving", &[]), Some(1.0));
    assert_eq!(metrics.value("httpd_restart_in_progress", &[]), Some(0.0));
}

fn a_perfect_line_of_each_kind_is_a_contradiction_and_nothing_else(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let ledger = Ledger::open(&httpd);
    let gracekeeper = watched(&httpd);
    let log = httpd.error_log();
    // The start that gracekeeper saw at its own start would confirm a resuming line beside it.
    let [resumed, others @ ..] = perfect(&httpd);
    for (line, forged) in others.iter().zip(1_u8..) {
        append(log.path(), line.as_bytes());
        nothing_moved(&gracekeeper, f64::from(forged));
    }
    append(log.path(), resumed.as_bytes());
    nothing_moved(&gracekeeper, 5.0);
    append(log.path(), b"AH00493: SIGUSR1 received.  Doing graceful restart\n");
    nothing_moved(&gracekeeper, 6.0);
    ledger.assert_counted(&gracekeeper, &httpd);
    assert_eq!(said(&gracekeeper, &["level=WARN", "msg=\"contradiction\""]), 1, "once a minute");
    assert_eq!(said(&gracekeeper, &["restarted"]), 0);
}

fn a_script_that_writes_a_perfect_line_restarts_nothing(mpm: Mpm) {
    let httpd = Httpd::builder(mpm)
        .with_cgid()
        .extra("<LocationMatch \\.cgi$>\nOptions +ExecCGI\nSetHandler cgi-script\n</LocationMatch>")
        .start();
    let gracekeeper = watched(&httpd);
    let lines = httpd.directory().join("htdocs/lines");
    let [_, graceful, ..] = perfect(&httpd);
    fs::write(&lines, graceful).unwrap();
    let script = httpd.directory().join("htdocs/forge.cgi");
    let text = format!(
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\ncat {} >&2\n",
        lines.display()
    );
    program::write_script(&script, &text);
    let answer = http::get(httpd.address(), "/forge.cgi", Duration::from_secs(30)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let code = [("code", lifecycle_codes(mpm)[1])];
    gracekeeper.wait_until("the line is counted", |metrics| {
        metrics.value("httpd_error_log_events_total", &code) == Some(1.0)
    });
    nothing_moved(&gracekeeper, 1.0);
    httpd.graceful();
    let metrics = super::settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0], "a true one is told from it");
}

#[test]
fn a_script_whose_words_httpd_writes_down_claims_nothing() {
    // mod_cgi hands on what a script says behind its own code, AH01215.
    let httpd = Httpd::builder(Mpm::Prefork)
        .extra("LoadModule cgi_module /usr/lib/apache2/modules/mod_cgi.so")
        .extra("<LocationMatch \\.cgi$>\nOptions +ExecCGI\nSetHandler cgi-script\n</LocationMatch>")
        .start();
    let ledger = Ledger::open(&httpd);
    let gracekeeper = watched(&httpd);
    let script = httpd.directory().join("htdocs/forge.cgi");
    let text = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n\
                echo 'AH00171: Graceful restart requested, doing restart' >&2\n";
    program::write_script(&script, text);
    let answer = http::get(httpd.address(), "/forge.cgi", Duration::from_secs(30)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let metrics = ledger.assert_counted(&gracekeeper, &httpd);
    let other = [("code", "other")];
    assert_eq!(metrics.value("httpd_error_log_events_total", &other), Some(1.0));
    assert_eq!(super::decided(&gracekeeper), 0.0);
}
