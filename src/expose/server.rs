//! Serves the latest publication over HTTP, to as many clients as the limits admit.
//!
//! | route | answer |
//! |---|---|
//! | telemetry path (`/metrics`) | the exposition, gzip if asked for |
//! | `/` | a page with links |
//! | `/-/healthy` | 200 while looks succeed, else 503 |
//! | `/-/ready` | 200 after the first whole look, 503 before |
//!
//! GET and HEAD only; nothing here acts on httpd. Every connection is one task that ends by
//! itself: at its client's wish, at a limit of time, when a newer one needs its place, or with
//! the server.

mod address;
mod answer;
mod authentication;
mod compressed;
mod connection;
mod connections;
mod doors;
mod limits;
mod progress;
mod rate_limit;
mod routes;
mod site;
mod stream;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock;
use crate::expose::publication::Publication;
use crate::expose::web_config::WebConfigFile;

pub use address::{BindError, BoundListener, bind};
pub use limits::Limits;

use connection::Connection;
use connections::Connections;
use doors::{Arrival, Doors};
use progress::Progress;
use site::Site;

/// How the server behaves; the defaults are the contract's.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The path of the exposition, with its leading slash.
    pub telemetry_path: String,
    /// TLS, users and headers; `None` serves plain HTTP to everybody.
    pub web_config: Option<Arc<WebConfigFile>>,
    /// What one client, and all of them together, may take.
    pub limits: Limits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { telemetry_path: "/metrics".to_owned(), web_config: None, limits: Limits::default() }
    }
}

/// Why the server could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A bound listener could not be handed to the runtime.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address of the listener.
        address: std::net::SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Serves until `stop` resolves, then lets running answers finish for at most `limits.stop`.
///
/// Needs a tokio runtime with I/O and time. A slow client delays nobody: what blocks (bcrypt,
/// compression, reading the web configuration) runs on the runtime's blocking threads.
pub async fn serve(
    listeners: Vec<BoundListener>,
    publication: watch::Receiver<Arc<Publication>>,
    options: ServerOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let limits = options.limits;
    let mut doors = Doors::open(listeners)?;
    let site = Arc::new(Site::new(publication, options, clock::now()));
    let (stopping, told_to_stop) = watch::channel(false);
    let mut connections = Connections::new(limits.connections);
    let mut stop = pin!(stop);
    loop {
        match next_turn(stop.as_mut(), &mut doors, &mut connections).await {
            Turn::Stop => break,
            Turn::Arrived((socket, client)) => {
                let progress = Arc::new(Progress::new(clock::now()));
                let connection = Connection {
                    socket,
                    progress: Arc::clone(&progress),
                    site: Arc::clone(&site),
                    told_to_stop: told_to_stop.clone(),
                };
                connections.admit(client, progress, connection.run());
            }
            Turn::OutOfResources => connections.give_back_some(),
        }
    }
    drop(doors);
    stopping.send_replace(true);
    // What is left then is aborted with the set of tasks.
    let _ = timeout(limits.stop, poll_fn(|cx| connections.poll_all_ended(cx))).await;
    Ok(())
}

/// What the accepting loop does next.
enum Turn {
    Stop,
    Arrived(Arrival),
    OutOfResources,
}

async fn next_turn(
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    doors: &mut Doors,
    connections: &mut Connections,
) -> Turn {
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Turn::Stop);
        }
        connections.forget_ended(cx);
        doors.poll_arrival(cx).map(|arrival| arrival.map_or(Turn::OutOfResources, Turn::Arrived))
    })
    .await
}
