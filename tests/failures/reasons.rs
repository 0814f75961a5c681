//! Configurations that end a restart: the reason, and httpd's own words.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use rcgen::KeyPair;
use rustix::process::Signal;

use super::{failures, said, seen_serving, stops};
use crate::harness::{
    Gracekeeper, Httpd, Mpm, configuration::Builder, eventually, eventually::eventually_within,
    under_every_mpm,
};

const MODULES: &str = "/usr/lib/apache2/modules";

under_every_mpm! {
    each_fault_has_its_reason_and_a_start_makes_it_good
}

/// What is wrong with a configuration, and what is to be said of it.
struct Fault {
    reason: &'static str,
    words: &'static str,
    configuration: String,
}

/// Faults in what is otherwise this configuration; `listener` holds an address.
fn faults(httpd: &Httpd, base: &str, listener: &TcpListener) -> Vec<Fault> {
    let fault = |reason, words, line: &str| {
        let configuration = format!("{base}\n{line}\n");
        Fault { reason, words, configuration }
    };
    let run = httpd.directory().join("run");
    write_certificate(&run);
    let tls = |certificate: &str| {
        format!(
            "LoadModule ssl_module {MODULES}/mod_ssl.so
            <VirtualHost 127.0.0.1:1>
            ServerName tls
            SSLEngine on
            SSLCertificateFile run/{certificate}
            SSLCertificateKeyFile run/other.key
            </VirtualHost>"
        )
    };
    let other = if httpd.mpm() == Mpm::Event { "worker" } else { "event" };
    let own = match httpd.mpm() {
        Mpm::Event => "event",
        Mpm::Worker => "worker",
        Mpm::Prefork => "prefork",
    };
    let switched = base.replace(&format!("mpm_{own}"), &format!("mpm_{other}"));
    vec![
        fault("config", "Invalid command 'NoSuchDirective'", "NoSuchDirective"),
        fault("bind", "AH00072", &format!("Listen {}", listener.local_addr().unwrap())),
        fault("tls", "AH02565", &tls("own.pem")),
        fault("config", "does not exist or is empty", &tls("none.pem")),
        fault("log", "AH02291", "ErrorLog logs/none/error_log"),
        Fault { reason: "module", words: "AH00534", configuration: switched },
    ]
}

/// A certificate, and a key that is not its own.
fn write_certificate(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["tls".to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    fs::write(directory.join("own.pem"), certificate.pem()).unwrap();
    fs::write(directory.join("other.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
}

fn base(httpd: &Httpd) -> String {
    fs::read_to_string(httpd.configuration_file()).unwrap()
}

/// Restarts with the fault, and returns when the failure is told; `count`: of all failures.
#[track_caller]
fn fails(httpd: &Httpd, gracekeeper: &Gracekeeper, fault: &Fault, signal: Signal, count: f64) {
    let Fault { reason, words, configuration } = fault;
    let before = failures(&gracekeeper.scrape(), reason);
    httpd.rewrite_config(|_| configuration.clone());
    httpd.signal(signal);
    let told = Duration::from_secs(2);
    let metrics = eventually_within(told, "the failure is counted", || {
        Some(gracekeeper.scrape())
            .filter(|metrics| metrics.total("httpd_restart_failures_total", &[]) == count)
    });
    assert_eq!(failures(&metrics, reason), before + 1.0, "{reason}: {}", gracekeeper.log());
    assert_eq!(stops(&metrics, "failed_restart"), count);
    assert_eq!(metrics.total("httpd_stops_total", &[]), count);
    assert_eq!(metrics.value("httpd_up", &[]), Some(0.0));
    assert_eq!(metrics.value("httpd_last_restart_successful", &[]), Some(0.0));
    assert_eq!(metrics.value("httpd_restart_in_progress", &[]), Some(0.0));
    let told = ["restart failed", &format!("reason={reason}"), words];
    eventually("the failure is said", || said(gracekeeper, &told) > 0);
}

fn each_fault_has_its_reason_and_a_start_makes_it_good(mpm: Mpm) {
    let mut httpd = Httpd::builder(mpm).log_level("warn").start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    seen_serving(&gracekeeper, Some(1.0));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = base(&httpd);
    let held = httpd.hold_requests(1);
    let signals = [Signal::USR1, Signal::HUP].into_iter().cycle();
    let mut held = Some(held);
    for ((fault, signal), count) in faults(&httpd, &base, &listener).iter().zip(signals).zip(1_u8..)
    {
        let count = f64::from(count);
        fails(&httpd, &gracekeeper, fault, signal, count);
        if let Some(held) = held.take() {
            gracekeeper.wait_until("who is busy goes on as an orphan", |metrics| {
                metrics.value("httpd_orphaned_children", &[]) == Some(1.0)
            });
            held.release();
            gracekeeper.wait_until("and leaves", |metrics| {
                metrics.value("httpd_orphaned_children", &[]) == Some(0.0)
            });
        }
        httpd.rewrite_config(|_| base.clone());
        httpd.start_again();
        let metrics = gracekeeper.wait_until("the start makes it good", |metrics| {
            metrics.value("httpd_restarts_total", &[("type", "full")]) == Some(count)
                && metrics.value("httpd_serving", &[]) == Some(1.0)
        });
        assert_eq!(metrics.value("httpd_last_restart_successful", &[]), Some(1.0));
        assert_eq!(metrics.total("httpd_restarts_total", &[]), count, "and nothing else");
    }
    assert!(said(&gracekeeper, &["address in use"]) == 1);
    assert_eq!(gracekeeper.scrape().total("gracekeeper_contradictions_total", &[]), 0.0);
}

/// A failure that is told while a child has a request, which a hard restart waits for.
#[test]
fn a_hard_restart_fails_when_its_children_are_gone() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = Gracekeeper::watching(&httpd).start();
    seen_serving(&gracekeeper, Some(1.0));
    let _held = httpd.hold_requests(1);
    httpd.rewrite_config(|text| format!("{text}\nNoSuchDirective\n"));
    httpd.hard();
    let metrics = gracekeeper.wait_until("the failure is counted", |metrics| {
        metrics.total("httpd_restart_failures_total", &[]) == 1.0
    });
    assert_eq!((failures(&metrics, "config"), stops(&metrics, "failed_restart")), (1.0, 1.0));
    let told = ["restart failed", "Invalid command 'NoSuchDirective'"];
    eventually("the failure is said", || said(&gracekeeper, &told) == 1);
}

#[track_caller]
fn told_without_privileges(httpd: Builder, server: &str, log: Option<f64>, reason: &str) {
    let httpd = httpd.start();
    let gracekeeper = Gracekeeper::watching(&httpd).server(server).run_by_nobody().start();
    seen_serving(&gracekeeper, log);
    httpd.rewrite_config(|text| format!("{text}\nNoSuchDirective\n"));
    httpd.graceful();
    let metrics = gracekeeper.wait_until("the failure is counted", |metrics| {
        metrics.total("httpd_restart_failures_total", &[]) == 1.0
    });
    assert_eq!((failures(&metrics, reason), stops(&metrics, "failed_restart")), (1.0, 1.0));
    let words = usize::from(reason != "unknown");
    let reason = format!("reason={reason}");
    eventually("the failure is said", || said(&gracekeeper, &["restart failed", &reason]) == 1);
    assert_eq!(said(&gracekeeper, &["restart failed", "Invalid command"]), words);
}

#[test]
fn an_ordinary_user_who_may_read_the_log_is_told_the_reason() {
    told_without_privileges(Httpd::builder(Mpm::Event), "", Some(1.0), "config");
    told_without_privileges(Httpd::builder(Mpm::Prefork), "", Some(1.0), "config");
}

#[test]
fn words_that_are_lost_are_no_guess() {
    let syslog = Httpd::builder(Mpm::Worker).with_piped_log();
    told_without_privileges(syslog, "", Some(0.0), "unknown");
    told_without_privileges(Httpd::builder(Mpm::Event), "error_log = \"none\"", None, "unknown");
}
