//! What is printed: tables as they are measured, and at the end a verdict for each bound.

use std::process::ExitCode;

use crate::distances::Distances;

#[derive(Default)]
pub(crate) struct Report {
    verdicts: Vec<Verdict>,
}

struct Verdict {
    bound: String,
    measured: String,
    holds: bool,
}

impl Report {
    pub(crate) fn judge(&mut self, bound: &str, measured: String, holds: bool) {
        self.verdicts.push(Verdict { bound: bound.to_owned(), measured, holds });
    }

    /// Bounds hold for the worst that was seen.
    pub(crate) fn judge_distances(&mut self, what: &str, distances: &Distances, seconds: f64) {
        let measured = format!(
            "median {:.2}, p95 {:.2}, max {:.2} ms of {}",
            distances.median() * 1e3,
            distances.percentile(95) * 1e3,
            distances.max() * 1e3,
            distances.count()
        );
        let bound = format!("{what} within {:.0} ms", seconds * 1e3);
        // Nothing measured is nothing held.
        self.judge(&bound, measured, distances.max() <= seconds);
    }

    pub(crate) fn close(self) -> ExitCode {
        println!("\nVerdicts");
        for Verdict { bound, measured, holds } in &self.verdicts {
            let word = if *holds { "OK      " } else { "EXCEEDED" };
            println!("{word}  {bound}: {measured}");
        }
        if self.verdicts.iter().all(|verdict| verdict.holds) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}
