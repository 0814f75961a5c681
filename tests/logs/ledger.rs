//! What really stands in an error log, read without `src`, beside what gracekeeper counted of it.

use std::collections::BTreeMap;

use crate::harness::{Gracekeeper, Httpd, eventually::eventually_within, metrics::Metrics};

type Counts = BTreeMap<String, u64>;

/// Every code of the closed set that a test of these could bring about.
const CODES: [&str; 24] = [
    "AH00094", "AH00163", "AH00169", "AH00170", "AH00171", "AH00173", "AH00292", "AH00295",
    "AH00296", "AH00297", "AH00298", "AH00489", "AH00491", "AH00492", "AH00493", "AH00494",
    "AH00526", "AH00045", "AH00046", "AH00047", "AH00052", "AH00020", "AH00072", "AH00098",
];

/// Where a log was when gracekeeper was started.
pub(super) struct Ledger {
    base: usize,
}

impl Ledger {
    /// To be opened while httpd is idle, before gracekeeper starts.
    pub(super) fn open(httpd: &Httpd) -> Self {
        Self { base: httpd.error_log().text().len() }
    }

    /// Lines by level, and by code, that came since then, in whatever file.
    fn written(&self, httpd: &Httpd) -> (Counts, Counts) {
        let text = httpd.error_log().text();
        let (mut levels, mut codes) = (Counts::new(), Counts::new());
        for line in text[self.base..].lines() {
            *levels.entry(level(line).to_owned()).or_default() += 1;
            if let Some(code) = code(line) {
                *codes.entry(code.to_owned()).or_default() += 1;
            }
        }
        (levels, codes)
    }

    /// Waits until every line was counted, and asserts that each counted as what it is.
    #[track_caller]
    pub(super) fn assert_counted(&self, gracekeeper: &Gracekeeper, httpd: &Httpd) -> Metrics {
        let deadline = std::time::Duration::from_secs(10);
        let written = || self.written(httpd).0.values().sum::<u64>();
        let is_counted = |metrics: &Metrics| counted(metrics).0.values().sum::<u64>() >= written();
        let mut last = gracekeeper.scrape();
        let all = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually_within(deadline, "every line is counted", || {
                last = gracekeeper.scrape();
                is_counted(&last)
            });
        }));
        assert_eq!(counted(&last), self.written(httpd), "all within {deadline:?}: {}", all.is_ok());
        assert_eq!(last.value("httpd_error_log_skipped_bytes_total", &[]), Some(0.0));
        last
    }
}

/// What gracekeeper counted, without what is 0.
fn counted(metrics: &Metrics) -> (Counts, Counts) {
    let by = |name: &str, label: &str| {
        let series = metrics.series_of(name, &[]).into_iter();
        let positive = series.filter(|(_, count)| *count > 0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        positive.map(|(labels, count)| (labels[label].clone(), count as u64)).collect()
    };
    (by("httpd_error_log_lines_total", "level"), by("httpd_error_log_events_total", "code"))
}

/// Of the harness's own format: `[time] [module:level] [pid ..`.
fn level(line: &str) -> &str {
    let group = || line.strip_prefix('[')?.split_once("] [")?.1.split_once(']');
    group().and_then(|(group, _)| group.rsplit_once(':')).map_or("none", |(_, level)| level)
}

fn code(line: &str) -> Option<&str> {
    line.match_indices("AH").find_map(|(at, _)| {
        let (word, _) = line[at..].split_once(':')?;
        let digits = word.strip_prefix("AH")?;
        let is_code =
            (5..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_code.then(|| if CODES.contains(&word) { word } else { "other" })
    })
}
