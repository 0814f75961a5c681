//! How far what was shown lay from what was, over many rounds.

use std::fmt;

/// In seconds, without a sign.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distances(Vec<f64>);

impl Distances {
    pub(crate) fn add(&mut self, distance: f64) {
        let at = self.0.partition_point(|other| *other < distance.abs());
        self.0.insert(at, distance.abs());
    }

    pub(crate) fn extend(&mut self, others: &Self) {
        for distance in &others.0 {
            self.add(*distance);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    pub(crate) fn max(&self) -> f64 {
        self.percentile(100)
    }

    /// The smallest that so many of a hundred do not exceed; NaN of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Distances {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, p95, max] =
            [self.median(), self.percentile(95), self.max()].map(|seconds| seconds * 1e3);
        write!(formatter, "{median:>8.2} {p95:>8.2} {max:>8.2}")
    }
}
