//! What one look rendered, shared with every connection until the next look.

use std::time::Duration;

use bytes::Bytes;

use crate::model::time::Moment;

/// The latest pages. A scrape hands out these bytes and asks nobody.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// The exposition in text format 0.0.4.
    pub metrics: Bytes,
    /// `/api/v1/status`.
    pub status: Bytes,
    /// `/api/v1/events`.
    pub events: Bytes,
    /// The last look that ended; `None` before the first.
    pub looked_at: Option<Moment>,
    /// How old `looked_at` may be while looks succeed.
    pub stale_after: Duration,
}
