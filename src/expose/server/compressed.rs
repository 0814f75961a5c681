//! Pages in gzip: each made once a publication, when the first client asks, for all of them.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;
use tokio::sync::{OnceCell, watch};
use tokio::task::spawn_blocking;

use crate::expose::publication::Publication;

/// What can be had in gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The exposition.
    Metrics,
    /// `/api/v1/status`.
    Status,
    /// `/api/v1/events`.
    Events,
}

impl Page {
    /// As it is.
    pub(super) fn plain(self, publication: &Publication) -> Bytes {
        match self {
            Self::Metrics => publication.metrics.clone(),
            Self::Status => publication.status.clone(),
            Self::Events => publication.events.clone(),
        }
    }
}

/// The gzip of the latest publication that anybody asked for.
#[derive(Debug)]
pub(super) struct Compressed {
    latest: watch::Sender<Arc<Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    publication: Arc<Publication>,
    metrics: OnceCell<Bytes>,
    status: OnceCell<Bytes>,
    events: OnceCell<Bytes>,
}

impl Entry {
    const fn gzip(&self, page: Page) -> &OnceCell<Bytes> {
        match page {
            Page::Metrics => &self.metrics,
            Page::Status => &self.status,
            Page::Events => &self.events,
        }
    }
}

impl Compressed {
    /// Nothing is compressed yet.
    pub(super) fn new() -> Self {
        Self { latest: watch::Sender::default() }
    }

    /// The gzip of a page of `publication`; `None` if it could not be made.
    ///
    /// Clients that come meanwhile wait for the one compression.
    pub(super) async fn of(&self, publication: &Arc<Publication>, page: Page) -> Option<Bytes> {
        let entry = self.entry(publication);
        let made = entry.gzip(page).get_or_try_init(|| compress(page.plain(publication))).await;
        made.inspect_err(|error| tracing::debug!(%error, ?page, "a page was not compressed"))
            .ok()
            .cloned()
    }

    fn entry(&self, publication: &Arc<Publication>) -> Arc<Entry> {
        self.latest.send_if_modified(|latest| {
            let is_another = !Arc::ptr_eq(&latest.publication, publication);
            if is_another {
                let publication = Arc::clone(publication);
                *latest = Arc::new(Entry { publication, ..Entry::default() });
            }
            is_another
        });
        Arc::clone(&self.latest.borrow())
    }
}

/// Compresses on a blocking thread: megabytes would hold up every other client.
async fn compress(plain: Bytes) -> io::Result<Bytes> {
    spawn_blocking(move || gzip(&plain)).await.map_err(io::Error::other)?
}

fn gzip(plain: &[u8]) -> io::Result<Bytes> {
    // Expositions repeat themselves so much that the slower levels win little.
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish().map(Bytes::from)
}

/// Whether `Accept-Encoding` admits gzip (RFC 9110, section 12.5.3); without the header it does not.
pub(super) fn admits_gzip(headers: &HeaderMap) -> bool {
    let mut any_coding = false;
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    for part in lines.flat_map(|line| line.split(',')) {
        let mut words = part.split(';').map(str::trim);
        let coding = words.next().unwrap_or_default();
        let is_wanted = !words.any(is_zero_weight);
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return is_wanted;
        }
        any_coding |= coding == "*" && is_wanted;
    }
    any_coding
}

fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else {
        return false;
    };
    name.trim().eq_ignore_ascii_case("q")
        && weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn gzip_is_sent_to_those_who_admit_it_only() {
        let table = [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("deflate, gzip ; q=1.0, *;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; Q = 0.000", false),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
            ("*, gzip;q=0", false),
            ("identity", false),
            ("gzipped", false),
            ("", false),
            (",;,=;q", false),
        ];
        for (line, wanted) in table {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(line))]);
            assert_eq!(admits_gzip(&headers), wanted, "{line:?}");
        }
        assert!(!admits_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_publication_is_compressed_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let compressed = Compressed::new();
            let publish = |metrics: &'static str| {
                Arc::new(Publication { metrics: metrics.into(), ..Publication::default() })
            };
            let (first, second) = (publish("up 1\n"), publish("up 0\n"));
            let made = compressed.of(&first, Page::Metrics).await.unwrap();
            assert_eq!(compressed.of(&first, Page::Metrics).await.unwrap().as_ptr(), made.as_ptr());
            assert_ne!(compressed.of(&first, Page::Status).await.unwrap(), made);
            assert_ne!(compressed.of(&second, Page::Metrics).await.unwrap(), made);
        });
    }
}
