//! The shipped alerts in a real Prometheus, against real faults of real httpds.
//!
//! Scrapes and evaluations come every second. What the rules wait for longer than 30 s (`for` and
//! `keep_firing_for`) is waited for a sixtieth of that; expressions, their windows and their
//! thresholds are the shipped ones.

mod faults;

use std::collections::BTreeSet;
use std::time::Duration;

use faults::{Load, Servers};

use crate::harness::{
    Gracekeeper, Prometheus, eventually, eventually::eventually_within, prometheus::Labels,
};

const SHIPPED: &str = include_str!("../alerts/gracekeeper.rules.yml");

/// What is waited for longer than this in the rules is shortened.
const LONG: u64 = 30;
const FACTOR: u64 = 60;
/// From the faults until all alerts fire: a child is stuck after 30 s, and that for 10 s more.
const PATIENCE: Duration = Duration::from_secs(90);

/// What fires, by server and name.
type Alerts = BTreeSet<(String, String)>;

#[test]
fn each_fault_brings_its_alerts_and_a_graceful_restart_brings_none() {
    let prometheus = Prometheus::start(&soon(SHIPPED));
    let mut servers = Servers::start();
    let gracekeeper = servers.watch();
    let doomed = Gracekeeper::watching(&servers.calm).start();
    fires(&prometheus, &alerts(&[("", &["GracekeeperAbsent", "GracekeeperWatchdog"])]));
    prometheus.scrape(&[gracekeeper.address(), doomed.address()]);
    let watched = f64::from(servers.count() + 1);
    eventually("Prometheus has seen all of them serve, and counters at 0", || {
        let serving = prometheus.query("sum(httpd_serving)");
        serving.first().is_some_and(|(_, serving)| *serving == watched)
    });

    let load = Load::on(&servers.calm);
    let held = servers.calm.hold_requests(1);
    servers.calm.graceful_times(2, Duration::ZERO);
    doomed.kill();
    servers.break_all(&gracekeeper);
    fires(&prometheus, &alerts(FAULTS));
    let firing = prometheus.firing();
    assert_are_explained(&firing);
    assert_reason(&firing, "broken", "config");

    servers.broken.start_again();
    servers.keyring.answer();
    fires(
        &prometheus,
        &alerts(&[("broken", &["HttpdRestartFailedButRecovered", "HttpdFullRestart"])]),
    );
    eventually("nothing says any more that the answered one hangs", || {
        let firing = prometheus.firing();
        firing.iter().all(|(labels, _)| labels.get("server").is_none_or(|it| it != "prompting"))
    });
    drop((load, held));
    let fired = prometheus.ever_fired();
    let expected: Alerts =
        [FAULTS, RECOVERIES, AT_THE_BEGINNING].iter().flat_map(|it| alerts(it)).collect();
    let strange: Vec<_> = fired.difference(&expected).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(!fired.iter().any(|(server, _)| server == "calm" || server == "main"));
}

const FAULTS: &[(&str, &[&str])] = &[
    ("killed", &["HttpdDown", "HttpdOrphanedChildren"]),
    ("crashing", &["HttpdChildCrashLoop", "HttpdDown"]),
    ("broken", &["HttpdRestartFailed", "HttpdDown"]),
    ("taken", &["HttpdAddressInUse", "HttpdRestartFailed", "HttpdDown"]),
    ("prompting", &["HttpdPassphrasePromptPending", "HttpdRestartHung", "HttpdNotServing"]),
    ("full", &["HttpdNotServing"]),
    ("flapping", &["HttpdHardRestart", "HttpdRestartFlapping"]),
    ("stuck", &["HttpdDrainStuck"]),
    ("", &["GracekeeperDown", "GracekeeperWatchdog"]),
];
const RECOVERIES: &[(&str, &[&str])] =
    &[("broken", &["HttpdRestartFailedButRecovered", "HttpdFullRestart"])];
const AT_THE_BEGINNING: &[(&str, &[&str])] = &[("", &["GracekeeperAbsent"])];

fn alerts(by_server: &[(&str, &[&str])]) -> Alerts {
    let pairs = by_server.iter().flat_map(|(server, names)| {
        names.iter().map(|name| ((*server).to_owned(), (*name).to_owned()))
    });
    pairs.collect()
}

#[track_caller]
fn fires(prometheus: &Prometheus, expected: &Alerts) {
    let what = format!("all of these have fired: {expected:?}");
    let mut last = Alerts::new();
    eventually_within(PATIENCE, &what, || {
        let fired = prometheus.ever_fired();
        if fired != last {
            eprintln!("fired so far: {fired:?}");
            last = fired;
        }
        last.is_superset(expected)
    });
}

/// Every label and number of an annotation was there.
#[track_caller]
fn assert_are_explained(firing: &[(Labels, Labels)]) {
    for (labels, annotations) in firing {
        for key in ["summary", "description", "runbook_url", "dashboard_url"] {
            let text = annotations.get(key).unwrap_or_else(|| panic!("{labels:?} has no {key}"));
            assert!(!text.contains("<no value>") && !text.contains("<error"), "{key}: {text}");
        }
    }
}

#[track_caller]
fn assert_reason(firing: &[(Labels, Labels)], server: &str, reason: &str) {
    let of =
        |labels: &Labels, key: &str, value: &str| labels.get(key).is_some_and(|it| it == value);
    let (_, annotations) = firing
        .iter()
        .find(|(labels, _)| {
            of(labels, "server", server) && of(labels, "alertname", "HttpdRestartFailed")
        })
        .unwrap();
    let description = &annotations["description"];
    assert!(description.contains(&format!("Reason: {reason}.")), "{description}");
}

/// The rules with everything that is waited for longer than `LONG` divided by `FACTOR`.
fn soon(rules: &str) -> String {
    let lines = rules.lines().map(|line| {
        let Some((key, duration)) = line.split_once("for: ") else { return line.to_owned() };
        match seconds(duration) {
            Some(long) if long > LONG => format!("{key}for: {}s", long / FACTOR),
            Some(_) | None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn seconds(duration: &str) -> Option<u64> {
    let (number, unit) = duration.split_at(duration.len().checked_sub(1)?);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * unit)
}
