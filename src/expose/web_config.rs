//! The exporter-toolkit's web configuration: TLS, users, headers and rate of the server.
//!
//! The format is that of prometheus/exporter-toolkit, `docs/web-configuration.md`. What rustls
//! cannot do (TLS before 1.2, CBC suites, P-521) is an error here, where the toolkit's Go can do it.
//! As in the toolkit a change is in force with the next connection or request; a file that broke
//! leaves the last good one in force.

mod client_certificate;
mod document;
mod file;
mod http;
mod tls;
mod tls_names;
mod users;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use tokio_rustls::rustls::ServerConfig;

pub use document::WebConfigError;
pub use file::{WebConfigFile, WebConfigState};
pub use http::RateLimit;
pub use users::Users;

use document::Document;

/// A web configuration that was checked as a whole.
#[derive(Debug)]
pub struct WebConfig {
    tls: Option<Arc<ServerConfig>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    users: Option<Users>,
    rate_limit: Option<RateLimit>,
    /// Every file that it was made of, itself included.
    sources: Vec<PathBuf>,
    says_nothing: bool,
}

impl WebConfig {
    /// Reads and checks the file and the certificates that it names; may block.
    pub fn read(path: &Path) -> Result<Self, WebConfigError> {
        let document = Document::read(path)?;
        let says_nothing = document.says_nothing();
        let directory = path.parent().unwrap_or(Path::new(""));
        let mut sources = vec![path.to_owned()];
        let at_key = |key, cause| WebConfigError::Value { path: path.to_owned(), key, cause };
        let tls = match document.tls_server_config {
            Some(section) => {
                sources.extend(section.files(directory));
                section.build(directory).map_err(|(key, cause)| at_key(key, cause))?
            }
            None => None,
        };
        let http = document.http_server_config.unwrap_or_default();
        if http.http2 == Some(true) {
            tracing::warn!(file = %path.display(), "HTTP/2 is not offered, only HTTP/1.1");
        }
        let rate_limit = document.rate_limit.unwrap_or_default();
        Ok(Self {
            tls,
            headers: http.headers().map_err(|(key, cause)| at_key(key, cause))?,
            users: document.basic_auth_users.filter(|users| !users.is_empty()),
            rate_limit: rate_limit.build().map_err(|(key, cause)| at_key(key, cause))?,
            sources,
            says_nothing,
        })
    }

    /// The TLS to speak; `None` for plain HTTP.
    #[must_use]
    pub const fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    /// The headers that every answer carries.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Who may ask; `None` for everybody.
    #[must_use]
    pub const fn users(&self) -> Option<&Users> {
        self.users.as_ref()
    }

    /// How often all clients together may ask; `None` without a limit.
    #[must_use]
    pub const fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }
}

/// The key of a wrong value, and what is wrong with it.
type Wrong = (&'static str, String);
