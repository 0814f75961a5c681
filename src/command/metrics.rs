//! `gracekeeper metrics`: the catalogue of metrics.

use std::fmt::Write as _;

use serde_json::json;

use super::print;
use crate::{
    cli::Form,
    exit::Exit,
    expose::catalogue::{ALL, Kind, Metric},
};

/// Prints the catalogue.
pub fn run(form: Form) -> anyhow::Result<Exit> {
    let text = match form {
        Form::Table => table(),
        Form::Markdown => markdown(),
        Form::Json => json_text()?,
    };
    print(&text)?;
    Ok(Exit::Success)
}

/// The table of the README.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in ALL {
        let labels: Vec<String> = labels(metric)
            .map(|(name, values)| match values.as_slice() {
                [] => name.to_owned(),
                values => format!("{name}=`{}`", values.join("`,`")),
            })
            .collect();
        let Metric { name, help, .. } = metric;
        let (kind, labels) = (kind(metric), labels.join(", "));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {} |", help.trim_start());
    }
    text
}

fn table() -> String {
    let mut text = String::new();
    for metric in ALL {
        let names: Vec<&str> = labels(metric).map(|(name, _)| name).collect();
        let _ = writeln!(text, "{}{{{}}} {}", metric.name, names.join(","), kind(metric));
        let _ = writeln!(text, "   {}", metric.help);
    }
    text
}

fn json_text() -> anyhow::Result<String> {
    let metrics: Vec<_> = ALL
        .iter()
        .map(|metric| {
            let labels: Vec<_> = labels(metric)
                .map(|(name, values)| json!({"name": name, "values": values}))
                .collect();
            let mut entry = json!({
                "name": metric.name,
                "type": metric.kind.label(),
                "labels": labels,
                "help": metric.help.trim_start(),
            });
            if let (Kind::Histogram(bounds), Some(entry)) = (metric.kind, entry.as_object_mut()) {
                entry.insert("buckets".to_owned(), json!(bounds));
            }
            entry
        })
        .collect();
    Ok(serde_json::to_string_pretty(&metrics)? + "\n")
}

fn labels(metric: &Metric) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    metric.labels.iter().map(|label| (label.name, (label.values)()))
}

fn kind(metric: &Metric) -> String {
    match metric.kind {
        Kind::Histogram(bounds) => {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            format!("histogram: {}", bounds.join(" "))
        }
        Kind::Counter | Kind::Gauge => metric.kind.label().to_owned(),
    }
}
