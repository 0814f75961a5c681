//! What httpd's configuration says of children, listeners and logs: what a restart will make of it.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use super::{time::Timestamp, tls::TlsHost};

/// As the files are now; `None` is what they do not say, so that httpd's own default holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// The MPM that is loaded, if it is one of the usual three.
    pub mpm: Option<Mpm>,
    /// `StartServers`.
    pub start_servers: Option<u32>,
    /// `MinSpareThreads`; of prefork `MinSpareServers`.
    pub min_spare: Option<u32>,
    /// `MaxSpareThreads`; of prefork `MaxSpareServers`.
    pub max_spare: Option<u32>,
    /// `ThreadsPerChild`.
    pub threads_per_child: Option<u32>,
    /// `MaxRequestWorkers`.
    pub max_request_workers: Option<u32>,
    /// `ServerLimit`.
    pub server_limit: Option<u32>,
    /// `ThreadLimit`.
    pub thread_limit: Option<u32>,
    /// `Listen`, in its order; of very many only the first, and then `is_partial`.
    pub listens: Arc<[Listen]>,
    /// Descriptors that the parent holds for its logs: one for each `ErrorLog` of its own name, and
    /// one for each other log, or two where that is a piped logger.
    pub logs: u64,
    /// Something could not be followed, as an unknown condition: what is named of children and
    /// listeners may be more or less.
    pub is_partial: bool,
    /// The same of `logs`.
    pub logs_are_partial: bool,
    /// The kinds of mutexes that are semaphores, or may be; `None` where that is not known. How many
    /// arrays each makes is the module's affair: of `proxy-balancer-shm` it is one a balancer.
    pub mutexes: Option<BTreeMap<Vec<u8>, Mechanism>>,
    /// The names of log files, absolute: not piped ones, nor those that are handed on. Whether all
    /// are there tells `logs_are_partial`.
    pub log_files: Arc<[PathBuf]>,
    /// What `Include` and `IncludeOptional` name: absolute, with wildcards.
    pub include_patterns: Arc<[PathBuf]>,
    /// The files of `LoadModule` and `LoadFile`, absolute.
    pub module_files: Arc<[PathBuf]>,
    /// Hosts that speak TLS.
    pub tls_hosts: Arc<[TlsHost]>,
    /// Hosts, certificates or keys may be more or less than is named.
    pub tls_is_partial: bool,
    /// Every certificate file that httpd itself names, absolute; `None` where it does not tell.
    pub certificates: Option<Arc<[PathBuf]>>,
    /// What else `mod_ssl` reads when it is loaded, absolute: chains, authorities, revocation lists;
    /// of a directory it is `DIRECTORY/*`.
    pub tls_files: Arc<[PathBuf]>,
    /// `GracefulShutdownTimeout`, in seconds.
    pub graceful_shutdown_timeout: Option<u32>,
    /// `ListenBacklog`.
    pub listen_backlog: Option<u32>,
    /// When the last of the files changed, or was added or removed; `None` where that is not known.
    pub changed: Option<Timestamp>,
}

/// How a kind of mutex is made, where that may take a semaphore array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// `sysvsem`.
    SystemV,
    /// What APR was built with, which it does not tell: System V semaphores, or nothing of theirs.
    BuiltIn,
}

/// How children work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mpm {
    /// Threads, with connections that wait apart from them.
    Event,
    /// Threads.
    Worker,
    /// One worker a child.
    Prefork,
}

/// One `Listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listen {
    /// The address; `None`: every one.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// What httpd makes of its settings: each is within its range, and none is left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLimits {
    /// Children that a generation starts with.
    pub starts: u32,
    /// Workers, of prefork children, below which more children are started.
    pub min_spare: u32,
    /// Workers, of prefork children, above which children leave.
    pub max_spare: u32,
    /// Workers of one child.
    pub threads: u32,
    /// Most children of one generation.
    pub children: u32,
    /// Most workers of one generation: `MaxRequestWorkers`.
    pub workers: u64,
}

/// What the MPMs take where nothing is said; `event.c`, `worker.c`, `prefork.c`.
struct Defaults {
    starts: u32,
    min_spare: u32,
    max_spare: u32,
    threads: u32,
    workers: u32,
}

const THREADED: Defaults =
    Defaults { starts: 3, min_spare: 75, max_spare: 250, threads: 25, workers: 400 };
const PREFORK: Defaults =
    Defaults { starts: 5, min_spare: 5, max_spare: 10, threads: 1, workers: 256 };

impl ServerSettings {
    /// Descriptors of logs and listeners; `None` where more or fewer may be named.
    #[must_use]
    pub fn named_descriptors(&self) -> Option<u64> {
        let listens = u64::try_from(self.listens.len()).unwrap_or(u64::MAX);
        (!self.logs_are_partial && !self.is_partial).then(|| self.logs.saturating_add(listens))
    }

    /// What httpd makes of them, with the slots and the threads of a slot that its scoreboard has:
    /// those were decided when the parent started, whatever `ServerLimit` and `ThreadLimit` say now.
    ///
    /// The order is that of `check_config` and of the start of the MPM's own loop.
    #[must_use]
    pub fn corrected(&self, slots: u32, thread_slots: u32) -> ChildLimits {
        let is_prefork = match self.mpm {
            Some(Mpm::Prefork) => true,
            Some(Mpm::Event | Mpm::Worker) => false,
            None => thread_slots <= 1,
        };
        let default = if is_prefork { PREFORK } else { THREADED };
        let threads = match self.threads_per_child {
            Some(told) if !is_prefork => told,
            Some(_) | None => default.threads,
        };
        let threads = threads.min(thread_slots).max(1);
        let workers = self.max_request_workers.unwrap_or(default.workers).max(threads);
        let children = (workers / threads).min(slots).max(1);
        let min_spare = self.min_spare.unwrap_or(default.min_spare).max(1);
        let apart = if is_prefork { 1 } else { threads.saturating_add(1) };
        let max_spare = self.max_spare.unwrap_or(default.max_spare);
        ChildLimits {
            starts: self.start_servers.unwrap_or(default.starts).clamp(1, children),
            min_spare,
            max_spare: max_spare.max(min_spare.saturating_add(apart)),
            threads,
            children,
            workers: u64::from(children) * u64::from(threads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `MaxRequestWorkers`, `ThreadsPerChild`, `StartServers`.
    fn settings(mpm: Mpm, told: [Option<u32>; 3]) -> ServerSettings {
        let [max_request_workers, threads_per_child, start_servers] = told;
        ServerSettings {
            mpm: Some(mpm),
            max_request_workers,
            threads_per_child,
            start_servers,
            ..ServerSettings::default()
        }
    }

    #[test]
    fn httpds_own_defaults_hold_where_nothing_is_said() {
        for mpm in [Mpm::Event, Mpm::Worker] {
            let limits = settings(mpm, [None; 3]).corrected(16, 64);
            assert_eq!((limits.workers, limits.threads, limits.children), (400, 25, 16));
            assert_eq!((limits.starts, limits.min_spare, limits.max_spare), (3, 75, 250));
        }
        let limits = settings(Mpm::Prefork, [None; 3]).corrected(256, 1);
        assert_eq!((limits.workers, limits.threads, limits.children), (256, 1, 256));
        assert_eq!((limits.starts, limits.min_spare, limits.max_spare), (5, 5, 10));
        assert_eq!(ServerSettings::default().corrected(256, 1), limits);
    }

    #[test]
    fn what_is_out_of_range_is_corrected_as_httpd_does() {
        // Each was tried: slots and threads of them, children started, workers of the scoreboard.
        for (told, [slots, threads], [workers, each, starts]) in [
            ([Some(150), Some(100), Some(9)], [16, 64], [128, 64, 2]),
            ([Some(1000), Some(10), Some(40)], [4, 7], [28, 7, 4]),
            ([Some(5), Some(10), Some(0)], [16, 64], [10, 10, 1]),
        ] {
            for mpm in [Mpm::Event, Mpm::Worker] {
                let limits = settings(mpm, told).corrected(slots, threads);
                assert_eq!((limits.workers, limits.threads), (workers.into(), each), "{told:?}");
                assert_eq!(limits.starts, starts, "{told:?}");
            }
        }
        let limits = settings(Mpm::Prefork, [Some(20), None, Some(30)]).corrected(3, 1);
        assert_eq!((limits.workers, limits.starts), (3, 3));
        let none = settings(Mpm::Event, [Some(0), Some(0), Some(0)]).corrected(0, 0);
        assert_eq!((none.workers, none.threads, none.starts), (1, 1, 1));
        let most = settings(Mpm::Event, [Some(u32::MAX); 3]).corrected(u32::MAX, u32::MAX);
        assert_eq!((most.workers, most.max_spare), (u32::MAX.into(), u32::MAX));
    }
}
