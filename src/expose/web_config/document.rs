//! The document as it is written, and why it cannot be used.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::http::{HttpSection, RateLimitSection};
use super::tls::TlsSection;
use super::users::Users;

/// More than any bundle of certificates has; a path to something endless must not fill the memory.
const FILE_LIMIT: u64 = 1024 * 1024;

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// It cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The web configuration.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is not YAML, or has a key or a value that does not belong there.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The web configuration.
        path: PathBuf,
        /// Line, key and cause.
        source: serde_norway::Error,
    },
    /// Values do not fit together, or not what they name.
    #[error("{}: {key}: {cause}", path.display())]
    Value {
        /// The web configuration.
        path: PathBuf,
        /// The key in it.
        key: &'static str,
        /// What is wrong, with the file that it names.
        cause: String,
    },
    /// It has become empty, most likely because somebody is writing it.
    #[error("{}: empty, where there was a configuration", path.display())]
    Emptied {
        /// The web configuration.
        path: PathBuf,
    },
    /// TLS was switched on or off, which would take clients by surprise, or in by the way.
    #[error("{}: tls_server_config: switching TLS on or off takes a restart", path.display())]
    TlsSwitched {
        /// The web configuration.
        path: PathBuf,
    },
}

/// The sections; an absent one and one without a value are the same.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) tls_server_config: Option<TlsSection>,
    pub(super) http_server_config: Option<HttpSection>,
    pub(super) basic_auth_users: Option<Users>,
    pub(super) rate_limit: Option<RateLimitSection>,
}

impl Document {
    /// Reads the YAML.
    pub(super) fn read(path: &Path) -> Result<Self, WebConfigError> {
        let text = read_bounded(path)
            .map_err(|source| WebConfigError::Read { path: path.to_owned(), source })?;
        let document: Option<Self> = serde_norway::from_slice(&text)
            .map_err(|source| WebConfigError::Syntax { path: path.to_owned(), source })?;
        Ok(document.unwrap_or_default())
    }

    /// Whether no section is there.
    pub(super) const fn says_nothing(&self) -> bool {
        self.tls_server_config.is_none()
            && self.http_server_config.is_none()
            && self.basic_auth_users.is_none()
            && self.rate_limit.is_none()
    }
}

/// The content of a regular file of a sensible size.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a FIFO would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > FILE_LIMIT) {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(content)
}
