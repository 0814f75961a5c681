//! Limits that httpd ran into.

use super::label::closed_set;

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
