//! What every connection shares, and the way of a request through it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;

use crate::clock;
use crate::expose::publication::Publication;
use crate::expose::web_config::{RateLimit, Users, WebConfig};
use crate::model::time::Moment;

use super::ServerOptions;
use super::answer::sentence;
use super::authentication::{Admission, Authentication};
use super::compressed::Compressed;
use super::limits::Limits;
use super::rate_limit::Bucket;
use super::routes;

/// The site behind every connection.
pub(super) struct Site {
    pub(super) publication: watch::Receiver<Arc<Publication>>,
    pub(super) compressed: Compressed,
    pub(super) telemetry_path: String,
    pub(super) began: Moment,
    options: ServerOptions,
    authentication: Authentication,
    bucket: Bucket,
}

impl Site {
    /// A site that began at `began` and has seen nobody.
    pub(super) fn new(
        publication: watch::Receiver<Arc<Publication>>,
        options: ServerOptions,
        began: Moment,
    ) -> Self {
        Self {
            publication,
            compressed: Compressed::new(),
            telemetry_path: options.telemetry_path.clone(),
            began,
            authentication: Authentication::new(options.limits.pending_passwords),
            bucket: Bucket::default(),
            options,
        }
    }

    pub(super) const fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// The web configuration as it is on disk now, or the last good one; `None` if there is none.
    pub(super) async fn web_config(&self) -> Option<Arc<WebConfig>> {
        match &self.options.web_config {
            Some(file) => Some(file.current().await),
            None => None,
        }
    }

    /// Answers one request: rate, then credentials, then the route.
    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Response<Bytes> {
        let Some(config) = self.web_config().await else {
            return routes::answer(self, request).await;
        };
        let mut response = match self.refusal(&config, request).await {
            Some(refusal) => refusal,
            None => routes::answer(self, request).await,
        };
        for (name, value) in config.headers() {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    async fn refusal(
        &self,
        config: &WebConfig,
        request: &Request<Incoming>,
    ) -> Option<Response<Bytes>> {
        if let Some(wait) = config.rate_limit().and_then(|limit| self.over_rate(limit)) {
            return Some(too_many("The rate limit is reached.\n", wait));
        }
        let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.unauthorized(config.users()?, header).await
    }

    fn over_rate(&self, limit: RateLimit) -> Option<Duration> {
        self.bucket.take(limit, clock::now()).err()
    }

    async fn unauthorized(&self, users: &Users, header: Option<&[u8]>) -> Option<Response<Bytes>> {
        match self.authentication.admit(users, header).await {
            Admission::Granted => None,
            Admission::Busy => {
                Some(too_many("Too many passwords wait to be compared.\n", Duration::ZERO))
            }
            Admission::Denied => {
                let mut denied = sentence(StatusCode::UNAUTHORIZED, "Unauthorized.\n");
                let challenge = HeaderValue::from_static("Basic realm=\"gracekeeper\"");
                denied.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                Some(denied)
            }
        }
    }
}

fn too_many(text: &'static str, wait: Duration) -> Response<Bytes> {
    let mut response = sentence(StatusCode::TOO_MANY_REQUESTS, text);
    let seconds = wait.as_secs().saturating_add(1);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
