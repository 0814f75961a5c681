//! Children of old generations: why each is still there.

use super::{label::closed_set, process::ProcessId, scoreboard::Generation, time::Moment};

closed_set! {
    /// Why an old child is still there.
    StragglerCause {
        /// It handles a request, which may itself wait for another server.
        Request = "request",
        /// A connection is kept for a next request.
        Keepalive = "keepalive",
        /// It waits for clients to close their connections.
        Closing = "closing",
        /// It has nothing to do.
        Idle = "idle",
        /// It has made no progress for long, or cannot make any: stopped, or deep in the kernel.
        Stuck = "stuck",
        /// Nothing tells.
        Unknown = "unknown",
    }
}

/// An old child that still lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Straggler {
    /// Who.
    pub id: ProcessId,
    /// Its generation, where generations are httpd's own.
    pub generation: Option<Generation>,
    /// When it became old; `None` where nobody saw that.
    pub since: Option<Moment>,
    /// Why it is there.
    pub cause: StragglerCause,
    /// What a worker of it is asked for, as far as the operator wants that shown.
    pub request: Option<String>,
}
