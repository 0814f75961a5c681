//! How exact gracekeeper is and what it costs, measured at real httpds: `cargo bench --bench accuracy`.
//!
//! Every number is a distance from, or a ratio to, something measured in the same run, so that it
//! means the same on any machine; each bound gets a verdict, and one that is exceeded fails the run.
//! After `--`: `--rounds N`, and any of `accuracy`, `latency`, `scrape`, `cost` for these parts only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::float_cmp,
    reason = "a measurement that fails says so by panicking; it starts programs and clocks of its own; what a counter shows is exact"
)]

mod cost;
mod crowd;
mod distances;
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each user of the harness uses a part of it"
)]
#[path = "../harness/mod.rs"]
mod harness;
mod latency;
mod report;
mod rounds;
mod scenarios;
mod scrape;

use std::process::ExitCode;

use report::Report;

/// Enough for a p95 over all MPMs; a run takes some minutes.
const ROUNDS: usize = 10;

fn main() -> ExitCode {
    let (rounds, parts) = arguments();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let mut report = Report::default();
    if wanted("accuracy") {
        scenarios::play(rounds, &mut report);
    }
    if wanted("latency") {
        latency::measure(rounds, &mut report);
    }
    if wanted("scrape") || wanted("cost") {
        crowd::allow_many_descriptors();
        let (few, many) = crowd::few_and_many();
        if wanted("scrape") {
            scrape::measure(&few, &many, &mut report);
        }
        if wanted("cost") {
            cost::measure(&few, &many, &mut report);
        }
    }
    report.close()
}

fn arguments() -> (usize, Vec<String>) {
    let mut rounds = ROUNDS;
    let mut parts = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--rounds" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                rounds = number.filter(|rounds| *rounds > 0).expect("--rounds takes a number");
            }
            "accuracy" | "latency" | "scrape" | "cost" => parts.push(argument),
            other => panic!("{other}: neither --rounds N nor accuracy, latency, scrape or cost"),
        }
    }
    (rounds, parts)
}
