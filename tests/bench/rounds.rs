//! One httpd and one gracekeeper, round after round: what was counted and how far it was off.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::distances::Distances;
use crate::harness::metrics::Metrics;
use crate::harness::oracle::{OracleDrain, OracleRestart};
use crate::harness::{Gracekeeper, Httpd, Mpm, eventually};

/// A parent with a signal left would have taken it by then: it sleeps a second at most.
const QUIET: Duration = Duration::from_millis(1200);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Shown restart duration against the log's two lines.
    Restart,
    /// Shown drain duration against the restart's line and the last exit.
    Drain,
    /// From the parent's SIGKILL to a scrape that says that it is down.
    Death,
}

/// What the rounds of one scenario came to.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) rounds: usize,
    pub(crate) distances: BTreeMap<Measure, Distances>,
    /// What was not counted as it was, in words.
    pub(crate) wrong: Vec<String>,
}

/// Whatever a restart must move, or must not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) graceful: f64,
    pub(crate) hard: f64,
    pub(crate) full: f64,
    pub(crate) unknown: f64,
    pub(crate) failures: f64,
    pub(crate) stops: f64,
    pub(crate) contradictions: f64,
    /// Restarts whose duration is told.
    pub(crate) durations: f64,
    /// Restarts whose unserved time is told.
    pub(crate) unserved: f64,
}

pub(crate) struct Stage {
    pub(crate) httpd: Httpd,
    pub(crate) gracekeeper: Gracekeeper,
}

impl Measure {
    pub(crate) const ALL: [Self; 3] = [Self::Restart, Self::Drain, Self::Death];

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Restart => "restart duration",
            Self::Drain => "drain duration",
            Self::Death => "death to httpd_up 0",
        }
    }

    /// In seconds.
    pub(crate) const fn bound(self) -> f64 {
        match self {
            Self::Restart => 0.020,
            Self::Drain => 0.050,
            Self::Death => 0.100,
        }
    }
}

impl Findings {
    pub(crate) fn add(&mut self, measure: Measure, shown: f64, truth: Duration) {
        self.distances.entry(measure).or_default().add(shown - truth.as_secs_f64());
    }

    pub(crate) fn expect(&mut self, what: &str, shown: Counts, truth: Counts) {
        if shown != truth {
            self.wrong.push(format!("{what}: shown {shown:?}, was {truth:?}"));
        }
    }
}

impl Counts {
    pub(crate) fn of(metrics: &Metrics) -> Self {
        let restarts = |kind| metrics.value("httpd_restarts_total", &[("type", kind)]).unwrap();
        Self {
            graceful: restarts("graceful"),
            hard: restarts("hard"),
            full: restarts("full"),
            unknown: restarts("unknown"),
            failures: metrics.total("httpd_restart_failures_total", &[]),
            stops: metrics.total("httpd_stops_total", &[]),
            contradictions: metrics.total("gracekeeper_contradictions_total", &[]),
            durations: metrics.total("httpd_restart_duration_seconds_count", &[]),
            unserved: metrics.total("httpd_restart_unserved_seconds_count", &[]),
        }
    }

    pub(crate) fn graceful(mut self, restarts: usize) -> Self {
        self.graceful += number(restarts);
        self.told(restarts)
    }

    pub(crate) fn hard(mut self) -> Self {
        self.hard += 1.0;
        self.told(1)
    }

    /// With the stop before it.
    pub(crate) fn full(mut self) -> Self {
        self.full += 1.0;
        self.stops += 1.0;
        self.told(1)
    }

    fn told(mut self, restarts: usize) -> Self {
        self.durations += number(restarts);
        self.unserved += number(restarts);
        self
    }

    fn restarts(&self) -> f64 {
        self.graceful + self.hard + self.full + self.unknown
    }
}

impl Stage {
    pub(crate) fn set(mpm: Mpm) -> Self {
        let httpd = Httpd::builder(mpm).start();
        let gracekeeper = Gracekeeper::watching(&httpd).server("error_log = \"none\"").start();
        let stage = Self { httpd, gracekeeper };
        stage.settled();
        stage
    }

    /// Every child is known and of the running generation.
    pub(crate) fn settled(&self) -> Metrics {
        self.gracekeeper.wait_until("httpd serves and every child is known", |metrics| {
            let living = number(self.httpd.oracle().living_pids().len());
            metrics.value("httpd_serving", &[]) == Some(1.0)
                && children(metrics, "current") == living
                && children(metrics, "old") == 0.0
                && metrics.value("httpd_drain_in_progress", &[]) == Some(0.0)
                && metrics.value("httpd_restart_in_progress", &[]) == Some(0.0)
        })
    }

    /// The scrape that counts what is expected, or what it has come to when nothing moves any more.
    pub(crate) fn counted(&self, truth: Counts) -> Metrics {
        self.gracekeeper.wait_until("every restart is counted and served again", |metrics| {
            let shown = Counts::of(metrics);
            shown.restarts() >= truth.restarts() && shown.unserved >= truth.unserved
        })
    }

    /// The restart that just completed, with its place among all that there were.
    pub(crate) fn last_restart(&self, before: usize) -> (usize, OracleRestart) {
        let restarts = self.httpd.oracle().after_restarts(before + 1);
        (restarts.len() - 1, restarts.last().unwrap().clone())
    }

    /// Once the oracle has seen its end.
    pub(crate) fn drain(&self, index: usize) -> OracleDrain {
        eventually("the oracle sees the end of the drain", || {
            self.httpd.oracle().drain(index).filter(|drain| drain.end.is_some())
        })
    }

    pub(crate) fn restarts(&self) -> usize {
        self.httpd.oracle().restarts().len()
    }

    /// How many restarts there were once httpd has none left to do.
    pub(crate) fn restarts_at_rest(&self) -> usize {
        let oracle = self.httpd.oracle();
        eventually("httpd takes no more signals", || {
            let all = oracle.restarts();
            let completed = oracle.completed_restarts();
            let last = completed.last()?.resumed?;
            let quiet = SystemTime::now().duration_since(last).is_ok_and(|since| since > QUIET);
            (quiet && completed.len() == all.len()).then_some(all.len())
        })
    }
}

pub(crate) fn children(metrics: &Metrics, generation: &str) -> f64 {
    metrics.value("httpd_children", &[("generation", generation)]).unwrap_or(0.0)
}

pub(crate) fn sum(metrics: &Metrics, name: &str) -> f64 {
    metrics.total(&format!("{name}_sum"), &[])
}

pub(crate) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
