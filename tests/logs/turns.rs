//! Which log it is changes: by the configuration, by a new parent, by the operator.

use std::fs;

use rustix::process::Signal;

use super::{contradictions, restarts, seen_serving, settled, source, watched};
use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics, under_every_mpm};

under_every_mpm! {
    a_log_that_the_configuration_moves_is_followed
}

fn event(metrics: &Metrics, code: &str) -> f64 {
    metrics.value("httpd_error_log_events_total", &[("code", code)]).unwrap()
}

fn a_log_that_the_configuration_moves_is_followed(mpm: Mpm) {
    let httpd = Httpd::builder(mpm).start();
    let gracekeeper = watched(&httpd);
    let [resumed, graceful, ..] = super::lifecycle_codes(mpm);
    httpd.rewrite_config(|text| text + "\nErrorLog logs/other_log\n");
    httpd.graceful();
    settled(&gracekeeper, 1.0);
    gracekeeper.wait_until("the last line of one and the first of the other", |metrics| {
        (event(metrics, graceful), event(metrics, resumed)) == (1.0, 1.0)
    });
    httpd.graceful();
    settled(&gracekeeper, 2.0);
    let metrics = gracekeeper.wait_until("the other one is followed", |metrics| {
        (event(metrics, graceful), event(metrics, resumed)) == (2.0, 2.0)
    });
    assert_eq!(restarts(&metrics), [2.0, 0.0, 0.0, 0.0]);
    let lines = |name: &str| {
        let text = fs::read_to_string(httpd.directory().join("logs").join(name)).unwrap();
        text.lines().filter(|line| line.contains(resumed)).count()
    };
    assert_eq!((lines("error_log"), lines("other_log")), (1, 2), "as it is meant");
    assert_eq!(super::decided(&gracekeeper), 0.0);
}

#[test]
fn a_new_parent_may_have_another_log() {
    let mut httpd = Httpd::builder(Mpm::Event).start();
    let gracekeeper = watched(&httpd);
    httpd.stop();
    gracekeeper.wait_until("the stop and its line are counted", |metrics| {
        metrics.value("httpd_stops_total", &[("type", "stop")]) == Some(1.0)
            && event(metrics, "AH00491") == 1.0
            && source(metrics, "error_log").is_none()
    });
    // Another file under the old name.
    httpd.error_log().rotate();
    httpd.start_again();
    settled(&gracekeeper, 1.0);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 2.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 1.0, 0.0]);
    let metrics = gracekeeper
        .wait_until("the new file is followed from its beginning", |metrics| {
            event(metrics, "AH00489") == 2.0 && event(metrics, "AH00493") == 1.0
        });
    assert_eq!(contradictions(&metrics), 0.0);
    assert_eq!(source(&metrics, "error_log"), Some(1.0));
}

#[test]
fn a_path_that_the_operator_named_is_followed_and_may_be_changed() {
    let httpd = Httpd::builder(Mpm::Event).with_piped_log().start();
    let choice = format!("error_log = \"{}\"", httpd.error_log().path().display());
    let gracekeeper = Gracekeeper::watching(&httpd).server(&choice).start();
    seen_serving(&gracekeeper);
    httpd.graceful();
    let metrics = settled(&gracekeeper, 1.0);
    assert_eq!(restarts(&metrics), [1.0, 0.0, 0.0, 0.0]);
    // A piped log may lose the line that announces a restart.
    gracekeeper.wait_until("what the program wrote is counted", |metrics| {
        event(metrics, "AH00489") == 1.0
    });
    let file = gracekeeper.configuration_file();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&choice, "error_log = \"none\"")).unwrap();
    gracekeeper.signal(Signal::HUP);
    let metrics = gracekeeper
        .wait_until("it is left alone", |metrics| source(metrics, "error_log").is_none());
    assert_eq!(event(&metrics, "AH00489"), 1.0, "what was counted stays");
    fs::write(&file, text).unwrap();
    gracekeeper.signal(Signal::HUP);
    seen_serving(&gracekeeper);
}

#[test]
fn two_httpds_that_write_into_one_file_are_told_apart() {
    let first = Httpd::builder(Mpm::Event).start();
    let second = Httpd::builder(Mpm::Event).start();
    let shared = first.error_log().path().to_owned();
    second.rewrite_config(|text| format!("{text}\nErrorLog \"{}\"\n", shared.display()));
    second.graceful();
    super::eventually_generation(&second, 1);
    let other =
        format!("[[server]]\nname = \"second\"\npid_file = \"{}\"\n", second.pid_file().display());
    let gracekeeper = Gracekeeper::watching(&first).config(&other).start();
    let of = |metrics: &Metrics, server: &str| {
        ["graceful", "hard", "full", "unknown"].map(|kind| {
            let labels = [("server", server), ("type", kind)];
            metrics.value("httpd_restarts_total", &labels).unwrap()
        })
    };
    let both = |metrics: &Metrics, name: &str, labels: &[(&str, &str)]| {
        ["main", "second"].map(|server| {
            let labels: Vec<_> = labels.iter().copied().chain([("server", server)]).collect();
            metrics.value(name, &labels)
        })
    };
    gracekeeper.wait_until("both are seen", |metrics| {
        both(metrics, "httpd_serving", &[]) == [Some(1.0); 2]
            && both(metrics, "gracekeeper_source_up", &[("source", "error_log")]) == [Some(1.0); 2]
    });
    let total = |expected: f64| {
        gracekeeper.wait_until("it is counted", |metrics| {
            metrics.total("httpd_restarts_total", &[]) == expected
        })
    };
    first.graceful();
    let metrics = total(1.0);
    assert_eq!(of(&metrics, "main"), [1.0, 0.0, 0.0, 0.0]);
    second.hard();
    let metrics = total(2.0);
    assert_eq!(of(&metrics, "main"), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(of(&metrics, "second"), [0.0, 1.0, 0.0, 0.0]);
    first.stop();
    let metrics = gracekeeper.wait_until("the stop is counted", |metrics| {
        metrics.value("httpd_stops_total", &[("server", "main"), ("type", "stop")]) == Some(1.0)
    });
    let second_stops = metrics.total("httpd_stops_total", &[("server", "second")]);
    assert_eq!(second_stops, 0.0);
    // One line that names nobody is everybody's: it decides what came before it, for both.
    super::append(&shared, b"AH00492: caught SIGWINCH, shutting down gracefully\n");
    let metrics =
        gracekeeper.wait_until("it is contradicted", |metrics| contradictions(metrics) >= 1.0);
    let by_server = both(&metrics, "gracekeeper_contradictions_total", &[]);
    assert_eq!(by_server, [Some(0.0), Some(1.0)], "the first has no parent, and no log");
}
