//! What `mod_status` tells: a witness of the lowest rank, because a child answers for the parent.

use std::time::Duration;

/// One page of `server-status?auto`; `None` for what this version, MPM or setting does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerStatus {
    /// `ServerVersion`, such as `Apache/2.4.71 (Debian)`, at most 200 bytes.
    pub version: Option<String>,
    /// `ServerMPM`, in httpd's word.
    pub mpm: Option<String>,
    /// `ParentServerMPMGeneration`: the running generation.
    pub generation: Option<i32>,
    /// `ServerUptimeSeconds`, whole seconds: kept by a graceful restart, begun anew by a hard one.
    pub uptime: Option<Duration>,
    /// `Total Accesses`.
    pub accesses: Option<u64>,
    /// `BusyWorkers`, without those of old generations.
    pub busy_workers: u32,
    /// `IdleWorkers`.
    pub idle_workers: u32,
    /// `GracefulWorkers`; 0 under event and worker whatever drains.
    pub graceful_workers: Option<u32>,
    /// `Processes`, under event only.
    pub processes: Option<u32>,
    /// `Stopping`, under event only: quiescing children.
    pub stopping: Option<u32>,
    /// `ConnsTotal`, under event only.
    pub connections: Option<u32>,
}
