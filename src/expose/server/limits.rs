//! What one client, and all of them together, may take.

use std::time::Duration;

/// The largest header that is read; a request with more gets 431.
pub(super) const HEADER_LIMIT: usize = 16 * 1024;

/// Limits of time and number; each bounds what a hostile client can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; a newer one takes the place of one that waits.
    pub connections: usize,
    /// From the connection, or a request's first byte, to the complete request, TLS included.
    pub request: Duration,
    /// From the complete request until the client has taken the whole answer.
    pub answer: Duration,
    /// Between two requests of one connection; longer than the usual scrape interval.
    pub idle: Duration,
    /// How long a refused client may go on sending, so that it gets to read why.
    pub linger: Duration,
    /// How long running answers may take when the server stops.
    pub stop: Duration,
    /// Passwords that may wait for bcrypt, the running one included; more get 429.
    pub pending_passwords: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // At some 50 KiB each under TLS they stay below 16 MiB.
            connections: 256,
            request: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            // Prometheus scrapes once a minute by default and keeps its connection.
            idle: Duration::from_secs(90),
            linger: Duration::from_secs(1),
            stop: Duration::from_secs(1),
            // At bcrypt's usual cost of 10 the last of them waits for less than a second.
            pending_passwords: 8,
        }
    }
}
