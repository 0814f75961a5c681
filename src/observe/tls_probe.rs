//! Handshakes with listeners of this host, to see which certificate they serve: on a thread of its
//! own, one at a time, and only where a worker is ready for it.
//!
//! A handshake takes a worker for some milliseconds. Whether one was ready is told with a batch of
//! them, which is therefore good for a second only; before each handshake the kernel is asked
//! whether connections wait. What was not tried is decided anew by who wanted it.

mod handshake;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::mpsc,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use rustix::pipe::{PipeFlags, pipe_with};

use self::handshake::Prober;
pub use self::room::Room;
use super::wake::Wake;
use crate::{
    clock,
    model::{
        source::Why,
        time::Moment,
        tls::{Certificate, KeyAlgorithm},
    },
};

/// What a look saw of workers is believed for so long.
const FRESH: Duration = Duration::from_secs(1);

/// One handshake that is wanted, to see what is served for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The file of the certificate.
    pub file: PathBuf,
    /// Whom to ask.
    pub way: Way,
}

/// How a host is reached that has a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The addresses of one listener: of several the first that is connected to.
    pub places: Vec<SocketAddr>,
    /// The name to ask for, if it has one.
    pub name: Option<String>,
    /// What kind of key the certificate is to be for; `None`: any.
    pub algorithm: Option<KeyAlgorithm>,
}

/// Handshakes with one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// When it was seen that a worker is ready.
    pub decided: Moment,
    /// What must hold before each of them.
    pub room: Room,
    /// They, in their order.
    pub handshakes: Vec<Handshake>,
}

/// What became of a batch: those of its handshakes that were tried, up to the first that took
/// longer than anybody waits.
pub type Shown = Vec<(PathBuf, Result<Certificate, Why>)>;

/// Asks on a thread of its own; dropped, it ends a handshake that is still open, after at most 2 s
/// if that is not connected yet.
#[derive(Debug)]
pub struct TlsProber {
    answers: mpsc::Receiver<(usize, Shown)>,
    heard: BTreeMap<usize, Shown>,
    open: BTreeSet<usize>,
    /// Both until this is dropped.
    batches: Option<mpsc::Sender<(usize, Batch)>>,
    cancel: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has of a prober.
#[cfg(test)]
pub(in crate::observe) struct OtherEnd {
    /// What was asked for.
    pub(in crate::observe) asked: mpsc::Receiver<(usize, Batch)>,
    /// Where to answer.
    pub(in crate::observe) answer: mpsc::Sender<(usize, Shown)>,
}

impl TlsProber {
    /// Starts the thread; it wakes the watch when it is done with a batch.
    pub fn start(wake: Wake) -> io::Result<Self> {
        let (cancelled, cancel) = pipe_with(PipeFlags::CLOEXEC)?;
        let (batches, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let thread = Builder::new().name("probe tls".to_owned()).spawn(move || {
            let prober = Prober::new(cancelled.as_fd());
            for (server, batch) in asked {
                if answer.send((server, probe(&prober, batch))).is_err() {
                    return;
                }
                wake.wake();
            }
        })?;
        Ok(Self {
            answers,
            heard: BTreeMap::new(),
            open: BTreeSet::new(),
            batches: Some(batches),
            cancel: Some(cancel),
            thread: Some(thread),
        })
    }

    /// Without a thread: the other end is the test's.
    #[cfg(test)]
    pub(in crate::observe) fn by_hand() -> (Self, OtherEnd) {
        let (batches, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let (heard, open, batches) = (BTreeMap::new(), BTreeSet::new(), Some(batches));
        let prober = Self { answers, heard, open, batches, cancel: None, thread: None };
        (prober, OtherEnd { asked, answer })
    }

    /// Wants a batch of a server, known by this number; false: what became of its last one was not
    /// taken yet.
    pub fn ask(&mut self, server: usize, batch: Batch) -> bool {
        let batches = self.batches.as_ref().filter(|_| !self.open.contains(&server));
        let is_asked = batches.is_some_and(|batches| batches.send((server, batch)).is_ok());
        if is_asked {
            self.open.insert(server);
        }
        is_asked
    }

    /// What became of a server's last batch, once, without waiting.
    pub fn take(&mut self, server: usize) -> Option<Shown> {
        self.heard.extend(self.answers.try_iter());
        let shown = self.heard.remove(&server)?;
        self.open.remove(&server);
        Some(shown)
    }
}

impl Drop for TlsProber {
    fn drop(&mut self) {
        drop(self.batches.take());
        drop(self.cancel.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn probe(prober: &Prober<'_>, batch: Batch) -> Shown {
    let mut shown = Shown::new();
    for Handshake { file, way } in batch.handshakes {
        let is_fresh = clock::now().since(batch.decided) <= FRESH;
        if !is_fresh || prober.is_cancelled() || !batch.room.is_there(&way.places) {
            break;
        }
        let result = prober.served(&way);
        shown.push((file, result));
        if result == Err(Why::Timeout) {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests;
