//! What a scrape returned: Prometheus's text format as values to ask for.

use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metrics {
    series: BTreeMap<(String, Labels), f64>,
    types: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    /// Cumulative counts by upper bound, ascending, the last at infinity.
    pub(crate) buckets: Vec<(f64, f64)>,
    pub(crate) sum: f64,
    pub(crate) count: f64,
}

impl Metrics {
    /// Panics at the first line that is not the text format, or a series that is there twice.
    pub(crate) fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a TYPE line has name and type");
                metrics.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) =
                    sample(line).unwrap_or_else(|| panic!("not the text format: {line}"));
                let earlier = metrics.series.insert(series, value);
                assert!(earlier.is_none(), "a series is there twice: {line}");
            }
        }
        metrics
    }

    /// The value of the only series with this name and at least these labels; none if there is
    /// none. Panics if there are several.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.series_of(name, labels);
        assert!(found.len() < 2, "{name} with {labels:?} is ambiguous: {found:?}");
        found.first().map(|(_, value)| *value)
    }

    /// Of every series with this name and at least these labels.
    pub(crate) fn total(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series_of(name, labels).iter().map(|(_, value)| value).sum()
    }

    /// The only histogram with this name and at least these labels.
    #[track_caller]
    pub(crate) fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Option<Histogram> {
        let sum = self.value(&format!("{name}_sum"), labels)?;
        let count = self.value(&format!("{name}_count"), labels)?;
        let mut buckets: Vec<(f64, f64)> = self
            .series_of(&format!("{name}_bucket"), labels)
            .iter()
            .filter_map(|(labels, value)| Some((number(labels.get("le")?)?, *value)))
            .collect();
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        Some(Histogram { buckets, sum, count })
    }

    /// Every series with this name and at least these labels, with all its labels.
    pub(crate) fn series_of(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(&Labels, f64)> {
        self.series
            .iter()
            .filter(|((series, _), _)| series == name)
            .filter(|((_, has), _)| {
                labels.iter().all(|(key, value)| has.get(*key).is_some_and(|has| has == value))
            })
            .map(|((_, has), value)| (has, *value))
            .collect()
    }

    /// As the TYPE line has it.
    pub(crate) fn type_of(&self, name: &str) -> Option<&str> {
        self.types.get(name).map(String::as_str)
    }
}

fn sample(line: &str) -> Option<((String, Labels), f64)> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels_of(rest)?,
        None => (Labels::new(), rest),
    };
    // A time may follow the value.
    let value = number(rest.split_ascii_whitespace().next()?)?;
    Some(((name.to_owned(), labels), value))
}

/// Up to the closing brace, and what comes after it.
fn labels_of(mut rest: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        rest = loop {
            match characters.next()? {
                (at, '"') => break &after[at + 1..],
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
    }
}

fn number(text: &str) -> Option<f64> {
    // `f64` reads Prometheus's `+Inf` and `NaN` too.
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP httpd_restarts_total Restarts by what they were.
# TYPE httpd_restarts_total counter
httpd_restarts_total{server="main",type="graceful"} 5
httpd_restarts_total{server="main",type="hard"} 1
httpd_up{server="a \"quoted\\ name"} 1 1700000000000
gracekeeper_build 1e3

# TYPE httpd_restart_duration_seconds histogram
httpd_restart_duration_seconds_bucket{type="graceful",le="+Inf"} 2
httpd_restart_duration_seconds_bucket{type="graceful",le="0.25"} 1
httpd_restart_duration_seconds_sum{type="graceful"} 0.75
httpd_restart_duration_seconds_count{type="graceful"} 2
"#;

    #[test]
    fn a_value_is_found_by_some_of_its_labels() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.value("httpd_restarts_total", &[("type", "graceful")]), Some(5.0));
        assert_eq!(metrics.value("httpd_restarts_total", &[("type", "full")]), None);
        assert_eq!(metrics.value("httpd_up", &[("server", "a \"quoted\\ name")]), Some(1.0));
        assert_eq!(metrics.value("gracekeeper_build", &[]), Some(1000.0));
        assert!((metrics.total("httpd_restarts_total", &[]) - 6.0).abs() < f64::EPSILON);
        assert_eq!(metrics.type_of("httpd_restarts_total"), Some("counter"));
    }

    #[test]
    #[should_panic(expected = "ambiguous")]
    fn a_value_that_several_series_have_is_refused() {
        let _: Option<f64> = Metrics::parse(TEXT).value("httpd_restarts_total", &[]);
    }

    #[test]
    fn a_histogram_is_sum_count_and_ascending_buckets() {
        let histogram = Metrics::parse(TEXT)
            .histogram("httpd_restart_duration_seconds", &[("type", "graceful")])
            .unwrap();
        assert_eq!(
            histogram,
            Histogram { buckets: vec![(0.25, 1.0), (f64::INFINITY, 2.0)], sum: 0.75, count: 2.0 }
        );
    }

    #[test]
    #[should_panic(expected = "not the text format")]
    fn a_line_that_is_no_sample_is_refused() {
        Metrics::parse("httpd_up{server=\"main\" 1\n");
    }
}
