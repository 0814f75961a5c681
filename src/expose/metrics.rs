//! The exposition: what is believed, in Prometheus' text format 0.0.4.

mod drift;
mod headroom;

use std::collections::BTreeMap;

use prometheus::{
    Encoder, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram as Buckets, LabelPair, MetricFamily, MetricType},
};

use super::catalogue::{self as catalogue, Kind, Metric};
use crate::{
    model::{
        build::HttpdBuild,
        event::{DrainOutcome, ExitReason, FailureReason, RestartType, StopType},
        log::{LogCode, LogLevel},
        process::OwnProcess,
        resources::NetnsDrops,
        source::{Source, Why},
        straggler::{Straggler, StragglerCause},
        time::{Moment, Timestamp},
    },
    track::{
        assessment::{Age, ByAge, ServerAssessment},
        board::{Board, WorkerState},
        histogram::Histogram,
        tally::Tally,
    },
};

/// A server's name and everything that is shown of it.
#[derive(Clone, Copy, Debug)]
pub struct ServerView<'a> {
    /// The label `server`.
    pub name: &'a str,
    /// What is believed.
    pub assessment: &'a ServerAssessment,
    /// What was counted.
    pub tally: &'a Tally,
    /// What its living parent is made of; `None` while nothing of that is known.
    pub build: Option<&'a HttpdBuild>,
}

/// What is shown of gracekeeper itself.
#[derive(Clone, Copy, Debug)]
pub struct OwnView<'a> {
    /// When the last look began.
    pub looked_at: Moment,
    /// How long looks took.
    pub looks: &'a Histogram,
    /// Whether the own configuration was last read without an error.
    pub config_successful: bool,
    /// When it last was.
    pub config_success: Timestamp,
    /// The own process, if it could be read.
    pub process: Option<OwnProcess>,
    /// Version, revision, compiler.
    pub build: [&'a str; 3],
    /// What the network namespace dropped at listeners since this run began; `None` if that
    /// could never be read.
    pub netns: Option<NetnsDrops>,
    /// httpds that discovery sees and nobody watches; `None` where nothing is discovered.
    pub unwatched: Option<Unwatched>,
}

/// httpds that are not watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwatched {
    /// In other PID namespaces, as those of containers.
    pub in_namespaces: usize,
    /// There are too many, or their names are taken.
    pub beyond_limit: usize,
}

/// Families in the catalogue's order.
#[derive(Default)]
struct Page {
    families: BTreeMap<usize, MetricFamily>,
}

/// Renders everything. The bytes are empty only if the encoder refuses, which it does for a
/// family without a name or a sample; there is none.
#[must_use]
pub fn render(servers: &[ServerView<'_>], own: &OwnView<'_>) -> Vec<u8> {
    let mut page = Page::default();
    for server in servers {
        assessment(&mut page, server);
        headroom::headroom(&mut page, server.name, &server.assessment.headroom);
        drift::drift(&mut page, server.name, &server.assessment.drift);
        tally(&mut page, server);
        sources(&mut page, server);
    }
    own_view(&mut page, servers, own);
    let families: Vec<MetricFamily> = page.families.into_values().collect();
    let mut bytes = Vec::new();
    match TextEncoder::new().encode(&families, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

fn assessment(page: &mut Page, server: &ServerView<'_>) {
    let ServerView { name, assessment: it, .. } = server;
    let mut gauge = |metric: &Metric, value: Option<f64>| page.gauge(metric, &[name], value);
    gauge(&catalogue::UP, it.up.map(truth));
    gauge(&catalogue::SERVING, it.serving.map(truth));
    gauge(&catalogue::PARENT_START, it.parent.map(|(_, started)| started.wall.as_seconds()));
    gauge(&catalogue::GENERATION_NUMBER, it.generation.map(|it| f64::from(it.number())));
    info(page, server);
    let mut gauge = |metric: &Metric, value: Option<f64>| page.gauge(metric, &[name], value);
    let up = it.up == Some(true);
    gauge(&catalogue::IN_PROGRESS, it.up.map(|_| truth(it.restart_since.is_some())));
    gauge(&catalogue::RESTART_START, it.restart_since.map(|since| since.wall.as_seconds()));
    gauge(&catalogue::HUNG, it.up.map(|_| truth(up && it.restart_hung)));
    gauge(&catalogue::GENERATIONS, it.generations.map(f64::from));
    gauge(&catalogue::ORPHANS, it.orphans.map(f64::from));
    gauge(&catalogue::DRAIN_IN_PROGRESS, it.drains.as_ref().map(|it| truth(!it.is_empty())));
    let oldest = it.drains.iter().flat_map(|drains| drains.values()).min();
    gauge(&catalogue::DRAIN_START, oldest.map(|began| began.wall.as_seconds()));
    gauge(&catalogue::LAST_DRAIN, it.last_drain.map(|lasted| lasted.as_secs_f64()));
    if let Some(children) = it.children {
        by_age(page, &catalogue::CHILDREN, name, children);
    }
    if let Some(shown) = &it.board {
        board(page, name, shown);
    }
    prompt(page, name, it);
    if let Some(shown) = &it.stragglers {
        stragglers(page, name, shown);
    }
}

/// A property of the parent that runs.
fn info(page: &mut Page, server: &ServerView<'_>) {
    let Some(build) = server.build.filter(|_| server.assessment.up == Some(true)) else { return };
    let HttpdBuild { version, mpm, apr, apr_util, openssl } = build;
    let [version, mpm, apr, apr_util, openssl] =
        [version, mpm, apr, apr_util, openssl].map(|it| it.as_deref().unwrap_or_default());
    let labels = [server.name, version, mpm, apr, apr_util, openssl];
    page.gauge(&catalogue::INFO, &labels, Some(1.0));
}

fn prompt(page: &mut Page, name: &str, it: &ServerAssessment) {
    let pending = it.up.map(|_| truth(it.prompt_since.is_some()));
    page.gauge(&catalogue::PROMPT_PENDING, &[name], pending);
    let since = it.prompt_since.map(|since| since.wall.as_seconds());
    page.gauge(&catalogue::PROMPT_START, &[name], since);
}

#[expect(clippy::cast_precision_loss, reason = "no httpd has 2^53 children")]
fn stragglers(page: &mut Page, name: &str, stragglers: &[Straggler]) {
    for cause in StragglerCause::ALL {
        let count = stragglers.iter().filter(|it| it.cause == *cause).count();
        page.gauge(&catalogue::DRAINING_CHILDREN, &[name, cause.label()], Some(count as f64));
    }
}

#[expect(clippy::cast_precision_loss, reason = "no httpd has 2^53 workers")]
fn board(page: &mut Page, name: &str, board: &Board) {
    for age in Age::ALL {
        for state in WorkerState::ALL {
            let count = board.workers.get(&(*age, *state)).copied().unwrap_or(0);
            let labels = [name, age.label(), state.label()];
            page.gauge(&catalogue::WORKERS, &labels, Some(f64::from(count)));
        }
    }
    page.gauge(&catalogue::WORKERS_LIMIT, &[name], Some(board.workers_limit as f64));
    by_age(page, &catalogue::CONNECTIONS, name, board.connections);
    let slots = board.slots;
    for (state, count) in
        [("current", slots.current), ("old", slots.old), ("free", slots.free), ("dead", slots.dead)]
    {
        page.gauge(&catalogue::SLOTS, &[name, state], Some(f64::from(count)));
    }
}

fn by_age(page: &mut Page, metric: &Metric, name: &str, numbers: ByAge) {
    page.gauge(metric, &[name, Age::Current.label()], Some(f64::from(numbers.current)));
    page.gauge(metric, &[name, Age::Old.label()], Some(f64::from(numbers.old)));
}

fn tally(page: &mut Page, server: &ServerView<'_>) {
    let ServerView { name, tally: it, .. } = server;
    page.counters(&catalogue::RESTARTS, name, &it.restarts, RestartType::label);
    page.counter(&catalogue::COALESCED, &[name], it.coalesced);
    page.counter(&catalogue::INTERRUPTED, &[name], it.interrupted_requests);
    page.counters(&catalogue::STOPS, name, &it.stops, StopType::label);
    page.counters(&catalogue::FAILURES, name, &it.failures, FailureReason::label);
    page.gauge(&catalogue::LAST_SUCCESSFUL, &[name], it.last_successful.map(truth));
    page.counter(&catalogue::CHILD_STARTS, &[name], it.child_starts);
    page.counters(&catalogue::CHILD_EXITS, name, &it.child_exits, ExitReason::label);
    page.counter(&catalogue::CONTRADICTIONS, &[name], it.contradictions);
    page.counters(&catalogue::LOG_LINES, name, &it.log_lines, LogLevel::label);
    page.counters(&catalogue::LOG_EVENTS, name, &it.log_events, LogCode::label);
    page.counter(&catalogue::LOG_SKIPPED, &[name], it.log_skipped);
    for (kind, at) in &it.last_restart {
        page.gauge(&catalogue::LAST_RESTART, &[name, kind.label()], Some(at.as_seconds()));
    }
    for (reason, at) in &it.last_failure {
        page.gauge(&catalogue::LAST_FAILURE, &[name, reason.label()], Some(at.as_seconds()));
    }
    durations(page, name, it);
}

fn durations(page: &mut Page, name: &str, it: &Tally) {
    for (kind, histogram) in &it.durations {
        page.histogram(&catalogue::RESTART_DURATION, &[name, kind.label()], histogram);
    }
    for (kind, histogram) in &it.unserved {
        page.histogram(&catalogue::RESTART_UNSERVED, &[name, kind.label()], histogram);
    }
    page.seconds(&catalogue::OVERLAP, &[name], it.overlap.as_secs_f64());
    for (outcome, histogram) in &it.drains {
        page.histogram(
            &catalogue::DRAIN_DURATION,
            &[name, DrainOutcome::label(*outcome)],
            histogram,
        );
    }
    page.histogram(&catalogue::CHILD_DRAIN, &[name], &it.child_drains);
}

fn sources(page: &mut Page, server: &ServerView<'_>) {
    let name = server.name;
    for source in Source::ALL {
        // One that nobody wants has no errors either.
        let Some(state) = server.assessment.sources.get(source) else { continue };
        page.gauge(&catalogue::SOURCE_UP, &[name, source.label()], state.up.map(truth));
        for why in Why::ALL {
            let count = state.errors.get(why).copied().unwrap_or(0);
            let labels = [name, source.label(), why.label()];
            page.counter(&catalogue::SOURCE_ERRORS, &labels, count);
        }
        let success = state.last_success.map(|at| at.wall.as_seconds());
        page.gauge(&catalogue::SOURCE_SUCCESS, &[name, source.label()], success);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful of servers")]
fn own_view(page: &mut Page, servers: &[ServerView<'_>], own: &OwnView<'_>) {
    page.gauge(&catalogue::BUILD_INFO, &own.build, Some(1.0));
    let up = servers.iter().filter(|server| server.assessment.up == Some(true)).count();
    page.gauge(&catalogue::SERVERS, &["up"], Some(up as f64));
    page.gauge(&catalogue::SERVERS, &["down"], Some((servers.len() - up) as f64));
    if let Some(Unwatched { in_namespaces, beyond_limit }) = own.unwatched {
        page.gauge(&catalogue::UNWATCHED, &["namespace"], Some(in_namespaces as f64));
        page.gauge(&catalogue::UNWATCHED, &["limit"], Some(beyond_limit as f64));
    }
    if let Some(netns) = own.netns {
        page.counter(&catalogue::NETNS_OVERFLOWS, &[], netns.overflows);
        page.counter(&catalogue::NETNS_DROPS, &[], netns.drops);
    }
    page.histogram(&catalogue::LOOK_DURATION, &[], own.looks);
    page.gauge(&catalogue::LOOK_TIMESTAMP, &[], Some(own.looked_at.wall.as_seconds()));
    page.gauge(&catalogue::CONFIG_SUCCESSFUL, &[], Some(truth(own.config_successful)));
    page.gauge(&catalogue::CONFIG_SUCCESS_TIME, &[], Some(own.config_success.as_seconds()));
    if let Some(process) = own.process {
        own_process(page, &process);
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes and descriptors of one process")]
fn own_process(page: &mut Page, process: &OwnProcess) {
    page.seconds(&catalogue::PROCESS_CPU, &[], process.cpu_seconds);
    let mut gauge = |metric: &Metric, value: f64| page.gauge(metric, &[], Some(value));
    gauge(&catalogue::PROCESS_OPEN_FDS, process.open_fds as f64);
    gauge(&catalogue::PROCESS_MAX_FDS, process.max_fds.map_or(f64::INFINITY, |it| it as f64));
    gauge(&catalogue::PROCESS_VIRTUAL, process.virtual_bytes as f64);
    gauge(&catalogue::PROCESS_RESIDENT, process.resident_bytes as f64);
    gauge(&catalogue::PROCESS_START, process.start_seconds);
    gauge(&catalogue::PROCESS_THREADS, process.threads as f64);
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

impl Page {
    fn gauge(&mut self, metric: &Metric, labels: &[&str], value: Option<f64>) {
        let Some(value) = value else { return };
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.sample(metric, labels).set_gauge(gauge);
    }

    #[expect(clippy::cast_precision_loss, reason = "a counter that counts to 2^53 is not seen")]
    fn counter(&mut self, metric: &Metric, labels: &[&str], value: u64) {
        self.seconds(metric, labels, value as f64);
    }

    fn seconds(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        self.sample(metric, labels).set_counter(counter);
    }

    fn counters<K: Copy>(
        &mut self,
        metric: &Metric,
        name: &str,
        values: &BTreeMap<K, u64>,
        word: impl Fn(K) -> &'static str,
    ) {
        for (key, value) in values {
            self.counter(metric, &[name, word(*key)], *value);
        }
    }

    fn histogram(&mut self, metric: &Metric, labels: &[&str], histogram: &Histogram) {
        let buckets = histogram.buckets().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut shown = Buckets::default();
        shown.set_bucket(buckets.collect());
        shown.set_sample_sum(histogram.sum().as_secs_f64());
        shown.set_sample_count(histogram.count());
        self.sample(metric, labels).set_histogram(shown);
    }

    fn sample(&mut self, metric: &Metric, labels: &[&str]) -> Sample<'_> {
        let place = catalogue::ALL.iter().position(|it| it.name == metric.name);
        let family = self.families.entry(place.unwrap_or(usize::MAX)).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.trim_start().to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram(_) => MetricType::HISTOGRAM,
            });
            family
        });
        let pairs = metric.labels.iter().zip(labels).map(|(label, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.name.to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        Sample { family, metric: prometheus::proto::Metric::from_label(pairs.collect()) }
    }
}

/// A sample that joins its family when it gets its value.
struct Sample<'a> {
    family: &'a mut MetricFamily,
    metric: prometheus::proto::Metric,
}

impl Sample<'_> {
    fn set_gauge(mut self, gauge: Gauge) {
        self.metric.set_gauge(gauge);
        self.family.mut_metric().push(self.metric);
    }

    fn set_counter(mut self, counter: Counter) {
        self.metric.set_counter(counter);
        self.family.mut_metric().push(self.metric);
    }

    fn set_histogram(mut self, histogram: Buckets) {
        self.metric.set_histogram(histogram);
        self.family.mut_metric().push(self.metric);
    }
}
