//! Accepts connections from every listener in turn, and rests while the kernel has no room.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use super::ServeError;
use super::address::BoundListener;
use crate::clock;
use crate::model::time::Moment;

/// The rest after an accept that failed: the connection stays in the backlog, so that trying
/// again at once would only burn the processor.
const REST: Duration = Duration::from_millis(20);

/// So long must nothing have failed before an end of the trouble is told: with few descriptors
/// left accepting fails and succeeds in turn, as often as clients like.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// A client that was let in, and its address.
pub(super) type Arrival = (TcpStream, IpAddr);

/// The open listeners.
pub(super) struct Doors {
    listeners: Vec<TcpListener>,
    /// Whose turn it is: no listener's flood keeps the others waiting.
    turn: usize,
    rest: Option<Pin<Box<Sleep>>>,
    /// The last failure, as long as its end was not told.
    trouble: Option<Moment>,
}

impl Doors {
    /// Hands the listeners to the runtime.
    pub(super) fn open(bound: Vec<BoundListener>) -> Result<Self, ServeError> {
        let open = |bound: BoundListener| {
            let address = bound.address();
            bound
                .listener
                .set_nonblocking(true)
                .and_then(|()| TcpListener::from_std(bound.listener))
                .map_err(|source| ServeError::Listen { address, source })
        };
        let listeners = bound.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { listeners, turn: 0, rest: None, trouble: None })
    }

    /// The next connection and its client; `None` when the process or the host has run out of descriptors or
    /// memory, after which the doors stay shut for a moment.
    pub(super) fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrival>> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        let count = self.listeners.len();
        for step in 0..count {
            let index = self.turn.wrapping_add(step) % count;
            let Some(listener) = self.listeners.get(index) else {
                continue;
            };
            let Poll::Ready(outcome) = listener.poll_accept(cx) else {
                continue;
            };
            self.turn = index.wrapping_add(1);
            return match outcome {
                Ok((socket, client)) => {
                    self.recovered(clock::now());
                    Poll::Ready(Some((socket, client.ip())))
                }
                Err(error) => self.failed(&error, clock::now(), cx),
            };
        }
        Poll::Pending
    }

    fn recovered(&mut self, now: Moment) {
        if self.trouble.is_some_and(|last| now.since(last) >= RECOVERED_AFTER) {
            self.trouble = None;
            tracing::info!("connections are accepted again");
        }
    }

    fn failed(
        &mut self,
        error: &io::Error,
        now: Moment,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Arrival>> {
        if concerns_one_connection(error) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.trouble.replace(now).is_none() {
            tracing::warn!(%error, "connections cannot be accepted");
        }
        self.rest = Some(Box::pin(sleep(REST)));
        Poll::Ready(None)
    }
}

/// Whether the next connection may well succeed: accept(2) hands over the network errors of the
/// connection that waited.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Timestamp, Uptime};

    fn at(seconds: u64) -> Moment {
        Moment { uptime: Uptime::from_micros(seconds * 1_000_000), wall: Timestamp::from_micros(0) }
    }

    fn no_doors() -> Doors {
        Doors { listeners: Vec::new(), turn: 0, rest: None, trouble: None }
    }

    #[test]
    fn running_out_of_descriptors_shuts_the_doors_for_a_moment() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut doors = no_doors();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let error = io::Error::from(Errno::MFILE);
            assert!(matches!(doors.failed(&error, at(1), &mut cx), Poll::Ready(None)));
            assert!(doors.poll_arrival(&mut cx).is_pending());
            assert!(doors.rest.is_some() && doors.trouble.is_some());
        });
    }

    #[test]
    fn trouble_that_comes_and_goes_is_one_trouble() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let mut doors = no_doors();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let error = io::Error::from(Errno::MFILE);
        for second in [100, 101, 130] {
            let _: Poll<Option<Arrival>> = doors.failed(&error, at(second), &mut cx);
            doors.recovered(at(second));
            assert_eq!(doors.trouble, Some(at(second)));
        }
        doors.recovered(at(189));
        assert_eq!(doors.trouble, Some(at(130)), "59 s are too few");
        doors.recovered(at(190));
        assert_eq!(doors.trouble, None);
    }

    #[test]
    fn a_client_that_went_away_in_the_backlog_shuts_nothing() {
        let mut doors = no_doors();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let error = io::Error::from(Errno::CONNABORTED);
        assert!(doors.failed(&error, at(1), &mut cx).is_pending());
        assert!(doors.rest.is_none() && doors.trouble.is_none());
    }
}
