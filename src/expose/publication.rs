//! What one look rendered, shared with every connection until the next look.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::model::{
    process::ProcessId,
    source::{Source, Why},
    time::Moment,
    told::Said,
};

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
    /// Every known server and what its sources gave, for who runs in the same process.
    pub servers: Arc<[PublishedServer]>,
}

/// One server and its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedServer {
    /// The label `server`.
    pub name: String,
    /// The parent is alive and identified; `None` while that cannot be seen.
    pub up: Option<bool>,
    /// The living parent.
    pub parent: Option<ProcessId>,
    /// httpd's version, where it is known.
    pub version: Option<String>,
    /// The MPM, where it is known.
    pub mpm: Option<String>,
    /// Every source that is wanted.
    pub sources: Vec<PublishedSource>,
    /// What the parent said of its configuration, or in words why it did not; `None` before it was
    /// asked.
    pub said: Option<Said>,
}

/// One source in the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedSource {
    /// Which.
    pub source: Source,
    /// It answered; `None` while it does not apply.
    pub up: Option<bool>,
    /// Why it did not, if it did not.
    pub why: Option<Why>,
    /// What an operator can do about that, if that is known.
    pub mend: Option<&'static str>,
}
