//! A real exposition of a real httpd, against promtool and against the catalogue.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Write as _},
    process::{Command, Stdio},
};

use gracekeeper::expose::catalogue::{ALL, Kind, Metric};

use crate::harness::{Gracekeeper, Httpd, Mpm, metrics::Metrics};

type Labels = BTreeMap<String, String>;

/// Of one server; what every server beyond it costs Prometheus.
const MOST_SERIES: usize = 560;

#[test]
fn the_exposition_is_what_promtool_and_the_catalogue_say() {
    let httpd = Httpd::builder(Mpm::Event).start();
    let status = format!("status_url = \"http://{}/server-status?auto\"", httpd.address());
    let gracekeeper = Gracekeeper::watching(&httpd).server(&status).start();
    gracekeeper.wait_until("the first look", |metrics| metrics.value("httpd_up", &[]).is_some());
    let first = gracekeeper.get("/metrics").body;
    assert_is_declared(&first);
    assert_is_whole(&Metrics::parse(&first));
    assert_counts_from_zero(&Metrics::parse(&first));
    assert_pleases_promtool(&first);

    let held = httpd.hold_requests(2);
    httpd.graceful();
    gracekeeper.wait_until("a drain", |metrics| {
        metrics.value("httpd_drain_in_progress", &[]) == Some(1.0)
            && metrics.total("httpd_restart_unserved_seconds_count", &[]) == 1.0
    });
    let draining = gracekeeper.get("/metrics").body;
    assert_is_declared(&draining);
    assert_is_whole(&Metrics::parse(&draining));
    assert_pleases_promtool(&draining);
    let series = Metrics::parse(&draining);
    let series = ALL.iter().flat_map(|metric| samples(&series, metric));
    let of_the_server = series.filter(|(_, labels)| labels.contains_key("server")).count();
    assert!(of_the_server <= MOST_SERIES, "{of_the_server} series of one server");
    drop(held);
}

#[test]
fn a_server_that_never_ran_has_its_counters_all_the_same() {
    let httpd = Httpd::builder(Mpm::Prefork).start();
    let gone = httpd.pid_file();
    let gracekeeper = Gracekeeper::watching(&httpd)
        .server("status_url = \"http://127.0.0.1:9/server-status?auto\"");
    drop(httpd);
    assert!(!gone.exists());
    let gracekeeper = gracekeeper.start();
    gracekeeper.wait_until("the first look", |metrics| {
        metrics.value("gracekeeper_servers", &[("state", "down")]) == Some(1.0)
    });
    let text = gracekeeper.get("/metrics").body;
    assert_is_declared(&text);
    assert_is_whole(&Metrics::parse(&text));
    assert_counts_from_zero(&Metrics::parse(&text));
    assert_pleases_promtool(&text);
}

#[track_caller]
fn assert_pleases_promtool(text: &str) {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match spawned {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("promtool is not installed, and this is not skipped: install prometheus")
        }
        Err(error) => panic!("start promtool: {error}"),
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "promtool: {said}\n{text}");
}

/// Every series is of a metric of the catalogue, with exactly its labels and words.
#[track_caller]
fn assert_is_declared(text: &str) {
    let metrics = Metrics::parse(text);
    let shown = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    let mut declared = 0;
    for metric in ALL {
        for (name, labels) in samples(&metrics, metric) {
            declared += 1;
            let names: BTreeSet<&str> = labels.keys().map(String::as_str).collect();
            let mut expected: BTreeSet<&str> =
                metric.labels.iter().map(|label| label.name).collect();
            if name.ends_with("_bucket") && matches!(metric.kind, Kind::Histogram(_)) {
                expected.insert("le");
            }
            assert_eq!(names, expected, "{name}");
            for label in metric.labels {
                let (words, word) = ((label.values)(), labels[label.name].as_str());
                assert!(words.is_empty() || words.contains(&word), "{name} {}={word}", label.name);
            }
            assert_eq!(metrics.type_of(metric.name), Some(metric.kind.label()), "{name}");
            let help = format!("# HELP {} {}", metric.name, metric.help.trim());
            assert!(text.contains(&help), "no line: {help}");
        }
    }
    assert_eq!(declared, shown, "series of metrics that the catalogue does not have:\n{text}");
}

/// Counters and histograms have every label set, whatever happened.
#[track_caller]
fn assert_is_whole(metrics: &Metrics) {
    for metric in ALL {
        let Some(wanted) = label_sets(metric) else { continue };
        let present: BTreeSet<Labels> = match metric.kind {
            Kind::Gauge => continue,
            Kind::Counter => label_sets_of(metrics, metric.name),
            Kind::Histogram(bounds) => {
                let [buckets, sum, count] =
                    ["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name));
                assert_eq!(
                    metrics.series_of(&buckets, &[]).len(),
                    wanted.len() * (bounds.len() + 1),
                    "{buckets}"
                );
                assert_eq!(label_sets_of(metrics, &sum), wanted, "{sum}");
                label_sets_of(metrics, &count)
            }
        };
        assert_eq!(present, wanted, "{}", metric.name);
    }
}

/// Nothing has happened to httpd since the first look.
#[track_caller]
fn assert_counts_from_zero(metrics: &Metrics) {
    for metric in ALL.iter().filter(|metric| metric.name.starts_with("httpd_")) {
        let counted = match metric.kind {
            Kind::Gauge => continue,
            Kind::Counter => metrics.total(metric.name, &[]),
            Kind::Histogram(_) => metrics.total(&format!("{}_count", metric.name), &[]),
        };
        assert_eq!(counted, 0.0, "{}", metric.name);
    }
}

/// Every series of a metric, by the name that it is exposed under.
fn samples(metrics: &Metrics, metric: &Metric) -> Vec<(String, Labels)> {
    let names = match metric.kind {
        Kind::Histogram(_) => {
            ["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name)).to_vec()
        }
        Kind::Counter | Kind::Gauge => vec![metric.name.to_owned()],
    };
    names
        .into_iter()
        .flat_map(|name| {
            let series = metrics.series_of(&name, &[]);
            let labels: Vec<Labels> =
                series.into_iter().map(|(labels, _)| labels.clone()).collect();
            labels.into_iter().map(move |labels| (name.clone(), labels))
        })
        .collect()
}

fn label_sets_of(metrics: &Metrics, name: &str) -> BTreeSet<Labels> {
    metrics.series_of(name, &[]).into_iter().map(|(labels, _)| labels.clone()).collect()
}

/// Every label set of a metric of the server `main`; none where a label has no closed set.
fn label_sets(metric: &Metric) -> Option<BTreeSet<Labels>> {
    let mut sets = BTreeSet::from([Labels::new()]);
    for label in metric.labels {
        let words = match (label.name, (label.values)()) {
            ("server", _) => vec!["main"],
            (_, words) if words.is_empty() => return None,
            (_, words) => words,
        };
        sets = sets
            .iter()
            .flat_map(|set| {
                words.iter().map(|word| {
                    let mut set = set.clone();
                    set.insert(label.name.to_owned(), (*word).to_owned());
                    set
                })
            })
            .collect();
    }
    Some(sets)
}
