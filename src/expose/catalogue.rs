//! Every metric, declared once: name, kind, labels and, from its comment, HELP.
//!
//! What is rendered, the `metrics` command and the README's table all come from here.

use crate::{
    model::{
        drift::{CertificateSource, Reason},
        event::{DrainOutcome, ExitReason, FailureReason, RestartType, StopType},
        headroom::{Owner, Pressure, Resource, Role},
        log::{LogCode, LogLevel},
        source::{Source, Why},
        straggler::StragglerCause,
    },
    track::{
        assessment::Age,
        board::WorkerState,
        tally::{DRAIN_BOUNDS, RESTART_BOUNDS},
    },
};

/// Upper bounds, in seconds, of how long looks take.
pub const LOOK_BOUNDS: &[f64] = &[0.0001, 0.0005, 0.002, 0.01, 0.05, 0.25, 1.0];

/// What kind of metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// What is true now.
    Gauge,
    /// Durations, counted into buckets with these upper bounds in seconds.
    Histogram(&'static [f64]),
}

/// A label.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its closed set of values; none for what is not closed (`server`, `version`).
    pub values: fn() -> Vec<&'static str>,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels, in the order in which they are written.
    pub labels: &'static [Label],
    /// Its HELP text.
    pub help: &'static str,
}

impl Kind {
    /// Prometheus' word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

const SERVER: Label = open("server");
const TYPE: Label = Label { name: "type", values: RestartType::words };
const STOP: Label = Label { name: "type", values: StopType::words };
const FAILURE: Label = Label { name: "reason", values: FailureReason::words };
const GENERATION: Label = Label { name: "generation", values: Age::words };
const STATE: Label = Label { name: "state", values: WorkerState::words };
const SLOT: Label = Label { name: "state", values: || vec!["current", "old", "free", "dead"] };
const CAUSE: Label = Label { name: "cause", values: StragglerCause::words };
const OUTCOME: Label = Label { name: "outcome", values: DrainOutcome::words };
const EXIT: Label = Label { name: "reason", values: ExitReason::words };
const SOURCE: Label = Label { name: "source", values: Source::words };
const WHY: Label = Label { name: "reason", values: Why::words };
const CODE: Label = Label { name: "code", values: LogCode::words };
const LEVEL: Label = Label { name: "level", values: LogLevel::words };
const ROLE: Label = Label { name: "role", values: Role::words };
const SCOPE: Label = Label { name: "scope", values: || vec!["host", "cgroup"] };
const RESOURCE: Label = Label { name: "resource", values: Resource::words };
const STALLED: Label = Label { name: "resource", values: Pressure::words };
const OWNER: Label = Label { name: "owner", values: Owner::words };
const LISTENER: Label = open("listener");
const OWED: Label = Label { name: "reason", values: Reason::words };
const CERTIFICATE: Label = Label { name: "source", values: CertificateSource::words };
const UNWATCHED_FOR: Label = Label { name: "reason", values: || vec!["namespace", "limit"] };
const UP_OR_DOWN: Label = Label { name: "state", values: || vec!["up", "down"] };

const fn open(name: &'static str) -> Label {
    Label { name, values: Vec::new }
}

macro_rules! catalogue {
    ($($(#[doc = $help:literal])+ $constant:ident $name:literal $kind:expr, [$($label:expr),*];)+) => {
        $(
            #[doc = concat!("`", $name, "`:", $($help),+)]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: $kind,
                labels: &[$($label),*],
                help: concat!($($help),+),
            };
        )+

        /// Every metric, in the order in which it is shown.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

catalogue! {
    /// The parent is alive and identified.
    UP "httpd_up" Kind::Gauge, [SERVER];
    /// A live child of the running generation takes connections; 0 once that was false for 3 s.
    SERVING "httpd_serving" Kind::Gauge, [SERVER];
    /// What the parent is made of, by its program on disk; empty where that is not known.
    INFO "httpd_info" Kind::Gauge, [SERVER, open("version"), open("mpm"), open("apr"), open("apr_util"), open("openssl")];
    /// When the parent started.
    PARENT_START "httpd_parent_start_time_seconds" Kind::Gauge, [SERVER];
    /// The running generation's number.
    GENERATION_NUMBER "httpd_generation" Kind::Gauge, [SERVER];
    /// Restarts that the parent went through: graceful (SIGUSR1), hard (SIGHUP), full (a new
    /// parent), unknown (not proven).
    RESTARTS "httpd_restarts_total" Kind::Counter, [SERVER, TYPE];
    /// Restarts beyond the first within one look; counted by type too.
    COALESCED "httpd_restarts_coalesced_total" Kind::Counter, [SERVER];
    /// The parent went away, and why.
    STOPS "httpd_stops_total" Kind::Counter, [SERVER, STOP];
    /// Restarts that ended with the parent's end, and why.
    FAILURES "httpd_restart_failures_total" Kind::Counter, [SERVER, FAILURE];
    /// Whether the last restart succeeded; absent before the first.
    LAST_SUCCESSFUL "httpd_last_restart_successful" Kind::Gauge, [SERVER];
    /// When the parent took the last signal of this type, or the last new parent started.
    LAST_RESTART "httpd_last_restart_timestamp_seconds" Kind::Gauge, [SERVER, TYPE];
    /// When the last restart that failed for this reason began.
    LAST_FAILURE "httpd_last_restart_failure_timestamp_seconds" Kind::Gauge, [SERVER, FAILURE];
    /// A restart is in progress: its signal is taken, the parent has not resumed.
    IN_PROGRESS "httpd_restart_in_progress" Kind::Gauge, [SERVER];
    /// When the restart in progress began.
    RESTART_START "httpd_restart_start_timestamp_seconds" Kind::Gauge, [SERVER];
    /// The restart in progress has taken longer than its limit.
    HUNG "httpd_restart_hung" Kind::Gauge, [SERVER];
    /// From the parent taking the signal to the parent resuming.
    RESTART_DURATION "httpd_restart_duration_seconds" Kind::Histogram(RESTART_BOUNDS), [SERVER, TYPE];
    /// From the signal, or from the old parent's end, to the first child of the new generation.
    RESTART_UNSERVED "httpd_restart_unserved_seconds" Kind::Histogram(RESTART_BOUNDS), [SERVER, TYPE];
    /// Workers that were busy at the last look before a hard or full restart: an estimate.
    INTERRUPTED "httpd_interrupted_requests_total" Kind::Counter, [SERVER];
    /// Distinct generations with a live child.
    GENERATIONS "httpd_generations" Kind::Gauge, [SERVER];
    /// Live worker children.
    CHILDREN "httpd_children" Kind::Gauge, [SERVER, GENERATION];
    /// Live worker children whose parent is gone.
    ORPHANS "httpd_orphaned_children" Kind::Gauge, [SERVER];
    /// Workers of live children by what they do.
    WORKERS "httpd_workers" Kind::Gauge, [SERVER, GENERATION, STATE];
    /// MaxRequestWorkers where it is known, else what all slots together may have.
    WORKERS_LIMIT "httpd_workers_limit" Kind::Gauge, [SERVER];
    /// Connections of an asynchronous MPM.
    CONNECTIONS "httpd_connections" Kind::Gauge, [SERVER, GENERATION];
    /// Scoreboard slots; their sum is ServerLimit.
    SLOTS "httpd_scoreboard_slots" Kind::Gauge, [SERVER, SLOT];
    /// Time with more than one generation alive.
    OVERLAP "httpd_overlap_seconds_total" Kind::Counter, [SERVER];
    /// An old generation still has children.
    DRAIN_IN_PROGRESS "httpd_drain_in_progress" Kind::Gauge, [SERVER];
    /// When the oldest unfinished drain began.
    DRAIN_START "httpd_drain_start_timestamp_seconds" Kind::Gauge, [SERVER];
    /// From a graceful restart to the end of the old generation's last child.
    DRAIN_DURATION "httpd_drain_duration_seconds" Kind::Histogram(DRAIN_BOUNDS), [SERVER, OUTCOME];
    /// How long the last finished drain took.
    LAST_DRAIN "httpd_last_drain_duration_seconds" Kind::Gauge, [SERVER];
    /// From a graceful restart to the end of each old child.
    CHILD_DRAIN "httpd_child_drain_duration_seconds" Kind::Histogram(DRAIN_BOUNDS), [SERVER];
    /// Old children by why they are still there.
    DRAINING_CHILDREN "httpd_draining_children" Kind::Gauge, [SERVER, CAUSE];
    /// Worker children that were started.
    CHILD_STARTS "httpd_child_starts_total" Kind::Counter, [SERVER];
    /// Worker children that ended, and why.
    CHILD_EXITS "httpd_child_exits_total" Kind::Counter, [SERVER, EXIT];
    /// Most child starts in one second of the last restart.
    PEAK_CHILD_STARTS "httpd_restart_peak_child_starts" Kind::Gauge, [SERVER];
    /// Processes that the kernel killed in the parent's cgroup for want of memory.
    OOM_KILLS "httpd_oom_kills_total" Kind::Counter, [SERVER];
    /// Proportional share of all memory that the processes map; of many children a sample, scaled.
    MEMORY_PSS "httpd_memory_pss_bytes" Kind::Gauge, [SERVER, ROLE];
    /// Memory that only the process itself maps; of many children a sample, scaled.
    MEMORY_PRIVATE "httpd_memory_private_bytes" Kind::Gauge, [SERVER, ROLE];
    /// Memory of the processes that is in swap; of many children a sample, scaled.
    SWAP "httpd_swap_bytes" Kind::Gauge, [SERVER, ROLE];
    /// Memory that may still be used: on the host, and below the tightest limit of the cgroups.
    MEMORY_HEADROOM "httpd_memory_headroom_bytes" Kind::Gauge, [SERVER, SCOPE];
    /// Extra memory that a graceful restart now would need at its peak.
    MEMORY_FORECAST "httpd_restart_memory_forecast_bytes" Kind::Gauge, [SERVER];
    /// Extra memory that the last graceful restart needed at its peak.
    MEMORY_PEAK "httpd_restart_memory_peak_bytes" Kind::Gauge, [SERVER];
    /// Open file descriptors.
    OPEN_FDS "httpd_open_fds" Kind::Gauge, [SERVER, ROLE];
    /// Lowest soft limit of open file descriptors of any of the processes.
    MAX_FDS "httpd_max_fds" Kind::Gauge, [SERVER];
    /// Open file descriptors by soft limit, of the process that is worst off.
    FD_USAGE "httpd_fd_usage_ratio" Kind::Gauge, [SERVER];
    /// A graceful restart now would fit.
    FITS "httpd_restart_fits" Kind::Gauge, [SERVER, RESOURCE];
    /// System V semaphore arrays of this httpd, or left by one that is gone.
    SEMAPHORES "httpd_sysv_semaphore_arrays" Kind::Gauge, [SERVER, OWNER];
    /// System V shared memory segments of this httpd, or left by one that is gone.
    SHM_SEGMENTS "httpd_sysv_shm_segments" Kind::Gauge, [SERVER, OWNER];
    /// Most System V semaphore arrays that the IPC namespace may have (SEMMNI).
    SEMAPHORES_LIMIT "httpd_sysv_semaphore_arrays_limit" Kind::Gauge, [SERVER];
    /// Descriptors of log files that have another name now, or none.
    ROTATED_LOGS "httpd_rotated_log_fds" Kind::Gauge, [SERVER, ROLE];
    /// Listening sockets.
    LISTENERS "httpd_listeners" Kind::Gauge, [SERVER];
    /// Listening sockets that a restart closed and opened anew: connections were refused.
    LISTENERS_REPLACED "httpd_listeners_replaced_total" Kind::Counter, [SERVER];
    /// Connections that wait to be accepted.
    QUEUE_LENGTH "httpd_accept_queue_length" Kind::Gauge, [SERVER, LISTENER];
    /// Connections that may wait to be accepted.
    QUEUE_LIMIT "httpd_accept_queue_limit" Kind::Gauge, [SERVER, LISTENER];
    /// Longest accept queue of any listener in the last restart.
    PEAK_QUEUE "httpd_restart_peak_accept_queue_length" Kind::Gauge, [SERVER];
    /// Connections dropped at the listener.
    LISTENER_DROPS "httpd_listener_drops_total" Kind::Counter, [SERVER, LISTENER];
    /// Time in which some process of the parent's cgroup, else of the host, waited for this.
    PRESSURE "httpd_pressure_stalled_seconds_total" Kind::Counter, [SERVER, STALLED];
    /// Hottest sensor in the last restart.
    PEAK_TEMPERATURE "httpd_restart_peak_temperature_celsius" Kind::Gauge, [SERVER];
    /// GracefulShutdownTimeout of the running configuration, where it is set.
    SHUTDOWN_TIMEOUT "httpd_graceful_shutdown_timeout_seconds" Kind::Gauge, [SERVER];
    /// Lines of the error log that have a code, by code: those that restarts, stops, exhaustion and
    /// crashes are told by.
    LOG_EVENTS "httpd_error_log_events_total" Kind::Counter, [SERVER, CODE];
    /// Lines of the error log by level.
    LOG_LINES "httpd_error_log_lines_total" Kind::Counter, [SERVER, LEVEL];
    /// Bytes of the error log that were not looked at: beyond 8 KiB of a line, of a flood, lost by
    /// truncation.
    LOG_SKIPPED "httpd_error_log_skipped_bytes_total" Kind::Counter, [SERVER];
    /// httpd, when it starts or restarts, waits for a key's pass phrase.
    PROMPT_PENDING "httpd_passphrase_prompt_pending" Kind::Gauge, [SERVER];
    /// Since when httpd waits for a key's pass phrase.
    PROMPT_START "httpd_passphrase_prompt_start_timestamp_seconds" Kind::Gauge, [SERVER];
    /// Files of private keys that are encrypted.
    KEYS_ENCRYPTED "httpd_tls_keys_encrypted" Kind::Gauge, [SERVER];
    /// An encrypted key is new or changed since it was loaded: a restart now would ask for its pass
    /// phrase.
    WOULD_PROMPT "httpd_restart_would_prompt" Kind::Gauge, [SERVER];
    /// When the certificate ends that has the least share of its life left.
    CERTIFICATE_EXPIRY "httpd_tls_certificate_expiry_timestamp_seconds" Kind::Gauge, [SERVER, CERTIFICATE];
    /// When the certificate began that has the least share of its life left.
    CERTIFICATE_START "httpd_tls_certificate_start_timestamp_seconds" Kind::Gauge, [SERVER, CERTIFICATE];
    /// When the certificate ends that ends first.
    CERTIFICATE_EARLIEST_EXPIRY "httpd_tls_certificate_earliest_expiry_timestamp_seconds" Kind::Gauge, [SERVER, CERTIFICATE];
    /// httpd accepts its configuration as it is on disk; absent where it cannot be asked.
    CONFIG_VALID "httpd_config_valid" Kind::Gauge, [SERVER];
    /// The loaded configuration as a number, which is equal on equal hosts.
    CONFIG_HASH "httpd_config_hash" Kind::Gauge, [SERVER];
    /// What lies on disk is not what was loaded; limits, binary, module and library need a full
    /// restart.
    RESTART_REQUIRED "httpd_restart_required" Kind::Gauge, [SERVER, OWED];
    /// When what is not loaded was changed.
    RESTART_REQUIRED_SINCE "httpd_restart_required_since_timestamp_seconds" Kind::Gauge, [SERVER, OWED];
    /// Programs, modules and files of the configuration that others than root can write.
    INSECURE_PATHS "httpd_insecure_paths" Kind::Gauge, [SERVER];
    /// Version and build of gracekeeper.
    BUILD_INFO "gracekeeper_build_info" Kind::Gauge, [open("version"), open("revision"), open("rustc")];
    /// Connections that found a full accept queue in gracekeeper's network namespace.
    NETNS_OVERFLOWS "gracekeeper_netns_listen_overflows_total" Kind::Counter, [];
    /// Connections dropped at any listener of gracekeeper's network namespace.
    NETNS_DROPS "gracekeeper_netns_listen_drops_total" Kind::Counter, [];
    /// Known servers.
    SERVERS "gracekeeper_servers" Kind::Gauge, [UP_OR_DOWN];
    /// httpds that were discovered and are not watched: in other PID namespaces; or too many, or of
    /// a name that is taken. Absent where servers are configured.
    UNWATCHED "gracekeeper_unwatched_servers" Kind::Gauge, [UNWATCHED_FOR];
    /// The source answered in the last look; absent while it does not apply.
    SOURCE_UP "gracekeeper_source_up" Kind::Gauge, [SERVER, SOURCE];
    /// How often a wanted source gave nothing, and why.
    SOURCE_ERRORS "gracekeeper_source_errors_total" Kind::Counter, [SERVER, SOURCE, WHY];
    /// When the source last answered.
    SOURCE_SUCCESS "gracekeeper_source_last_success_timestamp_seconds" Kind::Gauge, [SERVER, SOURCE];
    /// How long one look at all servers took.
    LOOK_DURATION "gracekeeper_look_duration_seconds" Kind::Histogram(LOOK_BOUNDS), [];
    /// When the last look began.
    LOOK_TIMESTAMP "gracekeeper_look_timestamp_seconds" Kind::Gauge, [];
    /// Witnesses that cannot all be right, or what httpd cannot do.
    CONTRADICTIONS "gracekeeper_contradictions_total" Kind::Counter, [SERVER];
    /// Whether gracekeeper's own configuration was last read without an error.
    CONFIG_SUCCESSFUL "gracekeeper_config_last_reload_successful" Kind::Gauge, [];
    /// When gracekeeper's own configuration was last read without an error.
    CONFIG_SUCCESS_TIME "gracekeeper_config_last_reload_success_timestamp_seconds" Kind::Gauge, [];
    /// User and system CPU time of gracekeeper, in seconds.
    PROCESS_CPU "process_cpu_seconds_total" Kind::Counter, [];
    /// Open file descriptors of gracekeeper.
    PROCESS_OPEN_FDS "process_open_fds" Kind::Gauge, [];
    /// Most file descriptors that gracekeeper may have open.
    PROCESS_MAX_FDS "process_max_fds" Kind::Gauge, [];
    /// Virtual memory of gracekeeper.
    PROCESS_VIRTUAL "process_virtual_memory_bytes" Kind::Gauge, [];
    /// Resident memory of gracekeeper.
    PROCESS_RESIDENT "process_resident_memory_bytes" Kind::Gauge, [];
    /// When gracekeeper started, in seconds since the epoch.
    PROCESS_START "process_start_time_seconds" Kind::Gauge, [];
    /// Threads of gracekeeper.
    PROCESS_THREADS "process_threads" Kind::Gauge, [];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_metric_is_declared_once_and_says_what_it_means() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.help.starts_with(' ') && metric.help.ends_with('.'), "{}", metric.name);
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.len() <= 8 && bounds.is_sorted(), "{}", metric.name);
            }
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"));
        }
    }

    #[test]
    fn what_belongs_to_a_server_says_which() {
        for metric in ALL.iter().filter(|metric| metric.name.starts_with("httpd_")) {
            assert_eq!(
                metric.labels.first().map(|label| label.name),
                Some("server"),
                "{}",
                metric.name
            );
        }
    }
}
