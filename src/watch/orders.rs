//! What the watch is told, from another thread.

use std::{io, os::fd::OwnedFd, path::PathBuf, sync::mpsc, time::Duration};

use hyper::Uri;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::{
    expose::web_config::WebConfigState,
    model::{scoreboard::ShowRequests, time::Timestamp},
    observe::{
        inquiry::Calling, log_source::LogChoice, served::ProbeWhen, server::Target, wake::Wake,
    },
};

/// What the watch is told.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// A look at least this often.
    pub interval: Duration,
    /// A restart that takes longer is hung.
    pub restart_timeout: Duration,
    /// The servers that an operator listed, with the names that he gave; none: discover what runs
    /// here.
    pub servers: Vec<Wanted>,
    /// Run httpd to ask it about its configuration.
    pub ask_httpd: bool,
    /// When listeners are asked for the certificates that they serve.
    pub tls_probe: ProbeWhen,
    /// Where what is known is kept from one run to the next; `None`: nowhere, and nothing is read.
    pub state_dir: Option<PathBuf>,
    /// What is shown of stragglers' request lines.
    pub show_requests: ShowRequests,
}

/// One server that an operator listed.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The name that he gave.
    pub name: Option<String>,
    /// How it is found.
    pub target: Target,
    /// What he wants of it.
    pub choices: Choices,
}

/// What an operator wants of one server; the defaults for one that was discovered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Its error log.
    pub error_log: LogChoice,
    /// Where its `mod_status` is asked; `None`: it is not.
    pub status_url: Option<Uri>,
    /// How it is called.
    pub calling: Calling,
}

/// What another thread tells the watch.
#[derive(Debug)]
pub enum Order {
    /// Go on with these options; they were read at this time.
    Configure(WatchOptions, Timestamp),
    /// The own configuration could not be read; the old one stays.
    ConfigurationFailed,
    /// The web server's own configuration was read, or could not be.
    WebConfiguration(WebConfigState),
    /// End.
    Stop,
}

/// The other end of the watch's ear.
#[derive(Debug)]
pub struct Controls {
    orders: mpsc::Sender<Order>,
    pub(super) wake: Wake,
}

/// The watch's own end: the orders, and a descriptor that becomes readable with each.
pub(super) fn controls() -> io::Result<(Controls, mpsc::Receiver<Order>, OwnedFd)> {
    let (ear, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let (sender, orders) = mpsc::channel();
    Ok((Controls { orders: sender, wake: Wake::new(wake) }, orders, ear))
}

impl Controls {
    /// Gives an order. A watch that has ended takes none, which its owner learns by joining it.
    pub fn give(&self, order: Order) {
        if self.orders.send(order).is_ok() {
            self.wake.wake();
        }
    }
}
