//! Drift: what is owed to the running server, because what lies on disk is newer than what it loaded.

use std::sync::Arc;

use super::{
    files::{FileSightings, MappedFile, OpenLogs},
    label::closed_set,
    snapshot::Part,
    source::Why,
    tls::{Handshakes, ServedCertificates},
};

closed_set! {
    /// What a restart would load, or must not be asked to.
    Reason {
        /// Files of the configuration.
        Config = "config",
        /// Certificates and keys.
        Certificate = "certificate",
        /// `ServerLimit`, `ThreadLimit` or the MPM: a graceful or hard restart ignores them, or dies of them.
        Limits = "limits",
        /// The program itself.
        Binary = "binary",
        /// A module.
        Module = "module",
        /// Another library.
        Library = "library",
    }
}

closed_set! {
    /// Where a certificate is.
    CertificateSource {
        /// In its file.
        Disk = "disk",
        /// In a listener's answer.
        Served = "served",
    }
}

impl Reason {
    /// Only a full restart loads it as it is meant.
    #[must_use]
    pub const fn needs_full_restart(self) -> bool {
        match self {
            Self::Config | Self::Certificate => false,
            Self::Limits | Self::Binary | Self::Module | Self::Library => true,
        }
    }
}

/// What a look saw of files and of what httpd holds of them; `None` is what was not wanted, or is
/// not there yet, as before httpd was asked for its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriftSample {
    /// The files on disk.
    pub files: Option<Part<Arc<FileSightings>>>,
    /// Why one of them could not be read, if one could not.
    pub hidden: Option<Why>,
    /// What the parent has mapped.
    pub mapped: Option<Part<Arc<[MappedFile]>>>,
    /// The logs that processes have open.
    pub logs: Option<Part<Arc<OpenLogs>>>,
    /// What listeners serve.
    pub served: Option<Part<Arc<ServedCertificates>>>,
    /// When they were asked; `None`: this parent's were not yet.
    pub handshakes: Option<Handshakes>,
    /// What httpd says of the configuration as it is on disk now; `None` where it was not asked
    /// since it changed, or gracekeeper may not read all that httpd would.
    pub config_valid: Option<bool>,
}
