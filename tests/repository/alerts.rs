//! The shipped alerts against the catalogue, their unit tests, their runbooks and their routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use gracekeeper::expose::catalogue::{ALL, Kind, Metric};
use serde::Deserialize;

use super::TOP;

/// All that an expression may call and name besides metrics.
const WORDS: &[&str] = &[
    "ALERTS",
    "absent",
    "alertname",
    "and",
    "by",
    "count",
    "increase",
    "instance",
    "job",
    "last_over_time",
    "max",
    "on",
    "or",
    "reason",
    "round",
    "server",
    "sum",
    "time",
    "timestamp",
    "type",
    "up",
    "vector",
    "cause",
];
const HEADINGS: [&str; 5] =
    ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation", "## False alarm when"];
/// Always fires, so nothing is known of when it is silent.
const WATCHDOG: &str = "GracekeeperWatchdog";

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    #[serde(rename = "alert")]
    name: String,
    expr: String,
    #[serde(default, rename = "for")]
    _lasting: String,
    #[serde(default)]
    keep_firing_for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct UnitTests {
    tests: Vec<UnitTest>,
}

#[derive(Deserialize)]
struct UnitTest {
    alert_rule_test: Vec<Expectation>,
}

#[derive(Deserialize)]
struct Expectation {
    alertname: String,
    exp_alerts: Vec<serde::de::IgnoredAny>,
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(TOP).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn alerts() -> Vec<Alert> {
    let rules: Rules = serde_norway::from_str(&read("alerts/gracekeeper.rules.yml")).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

#[test]
fn each_alert_asks_for_metrics_and_words_of_the_catalogue_only() {
    for alert in alerts() {
        for (key, text) in [("expr", &alert.expr)]
            .into_iter()
            .chain(alert.annotations.iter().map(|(key, text)| (key.as_str(), text)))
        {
            // A query within a template has its quotes escaped.
            assert_is_declared(&format!("{} {key}", alert.name), &text.replace("\\\"", "\""));
        }
        let expression = unquoted(&alert.expr);
        let strange: Vec<&str> = words(&expression)
            .map(|(_, word)| word)
            .filter(|word| !word.starts_with(|first: char| first.is_ascii_digit()))
            .filter(|word| metric(word).is_none() && !WORDS.contains(word))
            .collect();
        assert!(strange.is_empty(), "{}: {strange:?}", alert.name);
    }
}

#[test]
fn each_alert_says_what_every_alert_must_say() {
    for Alert { name: alert, labels, annotations, expr, keep_firing_for, .. } in alerts() {
        let severity = labels.get("severity").map(String::as_str);
        assert_eq!(labels.len(), 1, "{alert}: {labels:?}");
        match severity {
            // The end of gracekeeper must not look like the end of the trouble.
            Some("critical") => assert_eq!(keep_firing_for, "5m", "{alert}"),
            Some("warning" | "info") => {}
            Some("none") => assert_eq!(alert, WATCHDOG),
            other => panic!("{alert}: severity {other:?}"),
        }
        let keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
        assert_eq!(keys, ["dashboard_url", "description", "runbook_url", "summary"], "{alert}");
        let summary = &annotations["summary"];
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{alert}: {summary}");
        assert_eq!(
            annotations["runbook_url"],
            format!("https://runbooks.example/{alert}.md"),
            "{alert}"
        );
        assert!(annotations["dashboard_url"].starts_with("https://grafana.example/d/"), "{alert}");
        let yielded = labels_of(&expr);
        for text in annotations.values() {
            for (at, _) in text.match_indices("$labels.") {
                let (_, label) = words(&text[at + "$labels.".len()..]).next().unwrap();
                assert!(yielded.contains(label), "{alert}: no {label} in {yielded:?}: {text}");
            }
        }
    }
}

#[test]
fn each_alert_has_unit_tests_in_which_it_fires_and_in_which_it_is_silent() {
    let text = read("alerts/gracekeeper.rules.test.yml");
    let tests: UnitTests = serde_norway::from_str(&text).unwrap();
    let mut outcomes: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for expectation in tests.tests.into_iter().flat_map(|test| test.alert_rule_test) {
        let fires = !expectation.exp_alerts.is_empty();
        outcomes.entry(expectation.alertname).or_default().insert(fires);
    }
    for Alert { name: alert, .. } in alerts() {
        let wanted = if alert == WATCHDOG { vec![true] } else { vec![false, true] };
        let tested = outcomes.remove(&alert).unwrap_or_default();
        assert_eq!(tested.into_iter().collect::<Vec<_>>(), wanted, "{alert}: silent, fires");
    }
    assert!(outcomes.is_empty(), "tests of alerts that are not there: {outcomes:?}");
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let files = fs::read_dir(Path::new(TOP).join("docs/runbooks")).unwrap();
    let runbooks: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let wanted: BTreeSet<String> =
        alerts().iter().map(|Alert { name: alert, .. }| format!("{alert}.md")).collect();
    assert_eq!(runbooks, wanted);
    for name in &runbooks {
        let text = read(&format!("docs/runbooks/{name}"));
        assert!(text.starts_with(&format!("# {}\n", name.trim_end_matches(".md"))), "{name}");
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, HEADINGS, "{name}");
        assert_is_declared(name, &text);
        let links = text.match_indices("](").map(|(at, _)| &text[at + 2..]);
        for link in links.map(|rest| rest.split(')').next().unwrap()) {
            assert!(runbooks.contains(link), "{name} links to {link}");
        }
    }
}

#[test]
fn alertmanager_pages_for_critical_alerts_and_hides_only_what_is_there() {
    let file = "alerts/alertmanager.example.yml";
    let text = read(file);
    let there: BTreeSet<String> = alerts().into_iter().map(|it| it.name).collect();
    for (_, word) in words(&text) {
        // What is never hidden may be a cause that a later version tells of.
        let named = word.starts_with("Httpd") || word.starts_with("Gracekeeper");
        assert!(!named || there.contains(word) || word == "HttpdConfigBroken", "{word}");
    }
    for Alert { name: alert, labels, .. } in alerts() {
        let receiver = match labels["severity"].as_str() {
            "critical" => "pager",
            "warning" => "tickets",
            "none" => "deadman",
            _ => "nobody",
        };
        let output = Command::new("amtool")
            .args(["config", "routes", "test"])
            .arg(format!("--config.file={}", Path::new(TOP).join(file).display()))
            .arg(format!("alertname={alert}"))
            .arg(format!("severity={}", labels["severity"]))
            .output()
            .expect("amtool is installed: the package prometheus-alertmanager");
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim(), receiver, "{alert}");
    }
}

/// Every metric of ours that is named here is in the catalogue, and what is asked of its labels too.
#[track_caller]
fn assert_is_declared(place: &str, text: &str) {
    for (end, word) in words(text) {
        let ours = word.starts_with("httpd_") || word.starts_with("gracekeeper_");
        if !ours {
            continue;
        }
        // `httpd_(up|serving)` of a runbook's grep.
        if word.ends_with('_') {
            let inside = text[end..].trim_start_matches('(').split(')').next().unwrap();
            assert!(
                ALL.iter().any(|metric| metric.name.starts_with(word)),
                "{place}: {word}{inside}"
            );
            for part in inside.split('|').filter(|part| !part.contains('(')) {
                let name = format!("{word}{part}");
                assert!(metric(&name).is_some(), "{place}: no metric {name}");
            }
            continue;
        }
        let Some(metric) = metric(word) else { panic!("{place}: no metric {word}") };
        let Some(matchers) = text[end..].strip_prefix('{') else { continue };
        for matcher in matchers.split('}').next().unwrap().split(',') {
            let (label, value) = matcher.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim_matches('"');
            if value == "%q" {
                continue;
            }
            let declared = metric.labels.iter().find(|it| it.name == label);
            let Some(declared) = declared else { panic!("{place}: no label {label} of {word}") };
            for value in value.split('|') {
                let known = (declared.values)();
                assert!(known.contains(&value), "{place}: {word} has no {label} {value}");
            }
        }
    }
}

/// The metric that is exposed under this name.
fn metric(name: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| {
        let rest = name.strip_prefix(metric.name);
        match metric.kind {
            Kind::Histogram(_) => {
                rest.is_some_and(|rest| ["_bucket", "_sum", "_count"].contains(&rest))
            }
            Kind::Counter | Kind::Gauge => rest == Some(""),
        }
    })
}

/// The labels of what an expression yields: of its first aggregation, or else of its first metric.
fn labels_of(expression: &str) -> BTreeSet<String> {
    if expression.starts_with("absent(") || expression.starts_with("vector(") {
        return BTreeSet::new();
    }
    for (end, word) in words(expression) {
        if word == "by" {
            let inside = expression[end..].split_once('(').unwrap().1.split(')').next().unwrap();
            return inside.split(',').map(|label| label.trim().to_owned()).collect();
        }
        let own: Option<Vec<&str>> = match word {
            "up" => Some(Vec::new()),
            _ => metric(word).map(|it| it.labels.iter().map(|label| label.name).collect()),
        };
        if let Some(own) = own {
            return own.into_iter().chain(["job", "instance"]).map(str::to_owned).collect();
        }
    }
    panic!("nothing is asked for: {expression}")
}

/// Without what stands in quotes.
fn unquoted(text: &str) -> String {
    text.split('"').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Words and where each ends.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let is_word = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
        let begin = rest + text[rest..].find(is_word)?;
        rest = begin + text[begin..].find(|byte| !is_word(byte)).unwrap_or(text.len() - begin);
        Some((rest, &text[begin..rest]))
    })
}
