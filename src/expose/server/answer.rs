//! Answers: a status, a type and bytes that are shared, never copied.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::progress::Progress;

/// A sentence, or two, in plain text.
pub(super) fn sentence(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    page(status, HeaderValue::from_static("text/plain; charset=utf-8"), text.into())
}

/// A whole body of a type.
pub(super) fn page(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Bytes> {
    // Said aloud, because HEAD must say it without a body.
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// A body in one piece that notes when it has been handed over.
pub(super) struct AnswerBody {
    bytes: Option<Bytes>,
    progress: Arc<Progress>,
}

impl AnswerBody {
    /// The body of the request that `progress` is answering.
    pub(super) fn new(bytes: Bytes, progress: Arc<Progress>) -> Self {
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), progress }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

impl Drop for AnswerBody {
    // hyper drops a body when it has all of it, and that of a HEAD without asking for any.
    fn drop(&mut self) {
        self.progress.handed_over();
    }
}
