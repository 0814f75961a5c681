//! One connection from its acceptance to its end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::clock;

use super::answer::AnswerBody;
use super::limits::{HEADER_LIMIT, Limits};
use super::progress::Progress;
use super::site::Site;
use super::stream::Stream;

/// A client that was let in.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) progress: Arc<Progress>,
    pub(super) site: Arc<Site>,
    pub(super) told_to_stop: watch::Receiver<bool>,
}

impl Connection {
    /// Serves the client until it goes, is overdue, or the server stops.
    pub(super) async fn run(self) {
        let progress = Arc::clone(&self.progress);
        let limits = *self.site.limits();
        within_limits(&progress, &limits, self.converse(&limits)).await;
    }

    async fn converse(self, limits: &Limits) {
        let stream = Stream::new(self.socket, Arc::clone(&self.progress), limits);
        let tls = self.site.web_config().await.and_then(|config| config.tls().cloned());
        let Some(tls) = tls else {
            return speak_http(stream, self.progress, self.site, self.told_to_stop).await;
        };
        match TlsAcceptor::from(tls).accept(stream).await {
            Ok(stream) => speak_http(stream, self.progress, self.site, self.told_to_stop).await,
            // Anybody can send garbage; a line for each would let them fill the disk.
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        }
    }
}

/// Runs `work` until it ends or the connection's phase has lasted too long.
///
/// hyper limits the reading of a header only, so the time is taken here, over the handshake,
/// requests, answers and the pauses between them alike.
async fn within_limits(progress: &Progress, limits: &Limits, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
    let mut set_for = progress.get();
    let mut timer = pin!(sleep(progress.time_left(limits, clock::now())));
    poll_fn(|cx| {
        if work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if progress.get() != set_for {
            set_for = progress.get();
            timer.set(sleep(progress.time_left(limits, clock::now())));
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(())
    })
    .await;
}

async fn speak_http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    progress: Arc<Progress>,
    site: Arc<Site>,
    mut told_to_stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| answer(request, Arc::clone(&site), Arc::clone(&progress)));
    let mut connection = pin!(
        http1::Builder::new()
            .max_header_size(HEADER_LIMIT)
            .max_buf_size(HEADER_LIMIT)
            .header_read_timeout(None)
            // `printf 'GET ...' | nc` ends its side before it reads.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut stop = pin!(told_to_stop.wait_for(|stop| *stop));
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

async fn answer(
    request: Request<Incoming>,
    site: Arc<Site>,
    progress: Arc<Progress>,
) -> Result<Response<AnswerBody>, Infallible> {
    progress.request_complete(clock::now());
    let has_body = !request.body().is_end_stream();
    let mut answer = site.answer(&request).await;
    // Reading a body that nobody wants would let its sender decide how long that takes.
    if has_body {
        progress.note_unread_body();
    }
    // The tunnel that CONNECT asks for would begin where its refusal ends.
    if has_body || request.method() == Method::CONNECT {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer.map(|bytes| AnswerBody::new(bytes, progress)))
}
