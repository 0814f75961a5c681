//! TLS as the configuration has it, and certificates.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use super::{
    files::Digest,
    source::Why,
    time::{Moment, Timestamp},
};

/// What is told of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// `notBefore`.
    pub begins: Timestamp,
    /// `notAfter`.
    pub ends: Timestamp,
    /// Of the whole certificate: the same bytes, the same certificate.
    pub fingerprint: Digest,
    /// What kind of key it is for.
    pub algorithm: KeyAlgorithm,
}

/// What kind of key a certificate is for: of two certificates of one host a client gets that which
/// it can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyAlgorithm {
    /// RSA.
    Rsa,
    /// Elliptic curves, with ECDSA.
    Ecdsa,
    /// Ed25519 and all else.
    Other,
}

/// A `<VirtualHost>`, or the server without one, that speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsHost {
    /// Its addresses; none: those of every `Listen`.
    pub addresses: Vec<HostAddress>,
    /// `ServerName` without scheme and port, if it has one.
    pub name: Option<String>,
    /// `ServerAlias`, in lower case, with wildcards; `*` too where not all could be kept.
    pub aliases: Vec<String>,
    /// Its certificates and keys, in their order.
    pub pairs: Vec<TlsPair>,
}

/// One address of a `<VirtualHost>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostAddress {
    /// `None`: every one (`*`, `_default_`), or the name of a host.
    pub address: Option<IpAddr>,
    /// `None`: every port.
    pub port: Option<u16>,
}

/// `SSLCertificateFile` with its `SSLCertificateKeyFile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// Absolute.
    pub certificate: PathBuf,
    /// Absolute; the certificate's file where no other is named.
    pub key: PathBuf,
}

/// What listeners serve: each file of a certificate, with what a handshake showed of it last. What
/// was not tried yet is left out.
pub type ServedCertificates = BTreeMap<PathBuf, Served>;

/// What a handshake showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The certificate, or why none was shown.
    pub result: Result<Certificate, Why>,
    /// It is served since this load of the parent, by its number: what was served before a load
    /// tells nothing of what was loaded in it.
    pub load: u64,
}

/// When a parent's listeners were asked for certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshakes {
    /// When it was last heard what became of one.
    pub latest: Moment,
    /// When one last showed a certificate; `None`: none did.
    pub succeeded: Option<Moment>,
}

/// How much of a certificate's life is left at this time: 1 before it begins, 0 once it has ended.
#[must_use]
pub fn life_left(certificate: &Certificate, now: Timestamp) -> f64 {
    let whole = certificate.ends.as_micros().saturating_sub(certificate.begins.as_micros());
    let left = certificate.ends.as_micros().saturating_sub(now.as_micros());
    if whole <= 0 || left <= 0 {
        return 0.0;
    }
    (seconds(left) / seconds(whole)).min(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "a share, not a time")]
const fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
