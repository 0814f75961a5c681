//! Limits that httpd ran into.

use std::time::Duration;

use super::label::closed_set;

/// A limit that no line has told of for so long was left: httpd says that it cannot fork once in
/// ten seconds, that its slots are full once a second.
pub const SILENT_FOR: Duration = Duration::from_secs(60);

closed_set! {
    /// What there was not enough of.
    Exhaustion {
        /// `MaxRequestWorkers`: every worker is busy.
        MaxRequestWorkers = "max_request_workers",
        /// Slots of the scoreboard: old generations hold them.
        Scoreboard = "scoreboard",
        /// Processes: a fork failed.
        Fork = "fork",
        /// File descriptors.
        Fds = "fds",
        /// Semaphores of System V.
        Semaphores = "semaphores",
        /// An address that another process listens on.
        Address = "address",
    }
}
