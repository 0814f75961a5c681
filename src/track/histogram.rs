//! A histogram as Prometheus counts: cumulative buckets, sum, count.

use std::time::Duration;

/// Durations counted into fixed buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: Duration,
    count: u64,
}

impl Histogram {
    /// A histogram that has seen nothing, with these upper bounds in seconds, ascending.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], sum: Duration::ZERO, count: 0 }
    }

    /// Counts one observation.
    pub fn observe(&mut self, value: Duration) {
        let seconds = value.as_secs_f64();
        for (bound, count) in self.bounds.iter().zip(&mut self.counts) {
            *count += u64::from(seconds <= *bound);
        }
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }

    /// Each upper bound in seconds with how many observations were at most that.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.bounds.iter().copied().zip(self.counts.iter().copied())
    }

    /// All observations together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// How many observations there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_within_it() {
        let mut histogram = Histogram::new(&[1.0, 5.0]);
        histogram.observe(Duration::from_secs(1));
        histogram.observe(Duration::from_secs(6));
        assert_eq!(histogram.buckets().collect::<Vec<_>>(), [(1.0, 1), (5.0, 1)]);
        assert_eq!((histogram.sum(), histogram.count()), (Duration::from_secs(7), 2));
    }
}
