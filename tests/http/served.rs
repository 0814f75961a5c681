//! A server of a test's own on a free port, stopped when the test ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use gracekeeper::clock;
use gracekeeper::expose::publication::Publication;
use gracekeeper::expose::server::{Limits, ServerOptions, bind, serve};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{oneshot, watch};

use crate::http::client::Client;

/// Fails a test instead of letting it hang; no test depends on its length.
pub(super) const SAFETY: Duration = Duration::from_secs(60);

/// A running server.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) publication: watch::Sender<Arc<Publication>>,
    stop: Option<oneshot::Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// An exposition of this text, as a look would publish it now.
pub(super) fn looked(metrics: impl Into<Bytes>) -> Arc<Publication> {
    Arc::new(Publication {
        metrics: metrics.into(),
        looked_at: Some(clock::now()),
        stale_after: Duration::from_secs(3600),
        ..Publication::default()
    })
}

/// Limits that no polite client of a test meets.
pub(super) fn patient() -> Limits {
    let hour = Duration::from_secs(3600);
    Limits { request: hour, answer: hour, idle: hour, linger: hour, ..Limits::default() }
}

impl Served {
    /// Serves one sample under patient limits.
    pub(super) fn start() -> Self {
        Self::with(ServerOptions { limits: patient(), ..ServerOptions::default() })
    }

    /// Serves one sample under these options.
    pub(super) fn with(options: ServerOptions) -> Self {
        raise_descriptor_limit();
        let listeners = bind(&["127.0.0.1:0"]).unwrap();
        let address = listeners[0].address();
        let (publication, published) = watch::channel(looked("up 1\n"));
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = channel();
        let serving = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let stopped = async { drop(stopped.await) };
            runtime.unwrap().block_on(serve(listeners, published, options, stopped)).unwrap();
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("served".to_owned()).spawn(serving).unwrap();
        Self { address, publication, stop: Some(stop), ended, thread: Some(thread) }
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Tells the server to stop, without waiting for it.
    pub(super) fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has stopped.
    pub(super) fn wait_stopped(&mut self) {
        self.ended.recv_timeout(SAFETY).expect("the server stops");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        let failed = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!failed || std::thread::panicking(), "the server's thread panicked");
    }
}

/// A thousand connections take two thousand descriptors where both ends are one process.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap();
}
