//! A client's socket, which notes progress and parts from the client in an orderly way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::clock;

use super::limits::Limits;
use super::progress::Progress;

/// What is thrown away of a refused client's request before the connection is closed all the same.
const LINGER_LIMIT: usize = 512 * 1024;

/// The socket under HTTP, or under TLS.
pub(super) struct Stream {
    socket: TcpStream,
    progress: Arc<Progress>,
    linger: Duration,
    lingering: Option<Lingering>,
}

struct Lingering {
    left: usize,
    until: Pin<Box<Sleep>>,
}

impl Stream {
    /// Takes over an accepted socket.
    pub(super) fn new(socket: TcpStream, progress: Arc<Progress>, limits: &Limits) -> Self {
        // Answers are whole when they are written; nothing follows that could be sent with them.
        let _ = socket.set_nodelay(true);
        // Ends what the kernel still holds for a client that vanished, after we closed it too.
        let answer = u32::try_from(limits.answer.as_millis()).unwrap_or(u32::MAX);
        let _ = set_tcp_user_timeout(&socket, answer);
        Self { socket, progress, linger: limits.linger, lingering: None }
    }

    /// Reads and forgets, for a bounded time, what the client still sends.
    ///
    /// Closing a socket with unread bytes resets it, and the reset overtakes the answer: the
    /// client would never learn why it was refused (httpd's lingering close, for the same reason).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger;
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            left: LINGER_LIMIT,
            until: Box::pin(sleep(linger)),
        });
        let mut scratch = [0; 4096];
        while lingering.left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingering.until.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.progress.is_answering() {
            // A torn answer must not look like a whole one, nor stay in the kernel.
            let _ = self.socket.set_zero_linger();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.progress.received(clock::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever writes here flushes only after all of its bytes were taken.
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.progress.flushed(clock::now());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
        }
        if self.progress.client_may_be_sending() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
