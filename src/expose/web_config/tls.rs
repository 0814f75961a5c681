//! `tls_server_config`, made into rustls's configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ServerConfig, SupportedProtocolVersion};

use super::Wrong;
use super::client_certificate::{self, Policy};
use super::document::read_bounded;
use super::tls_names::{CipherSuite, ClientAuth, Curve, TlsVersion};

const SECTION: &str = "tls_server_config";

/// `tls_server_config` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    cert: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    client_ca_file: Option<PathBuf>,
    client_auth_type: Option<ClientAuth>,
    client_allowed_sans: Option<Vec<String>>,
    min_version: Option<TlsVersion>,
    max_version: Option<TlsVersion>,
    cipher_suites: Option<Vec<CipherSuite>>,
    curve_preferences: Option<Vec<Curve>>,
    prefer_server_cipher_suites: Option<bool>,
}

// A key may be written inline.
impl std::fmt::Debug for TlsSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSection").finish_non_exhaustive()
    }
}

impl TlsSection {
    /// The files that the section names.
    pub(super) fn files(&self, directory: &Path) -> Vec<PathBuf> {
        [&self.cert_file, &self.key_file, &self.client_ca_file]
            .into_iter()
            .flatten()
            .map(|file| directory.join(file))
            .collect()
    }

    /// Reads what the section names and checks that it fits; nothing written means no TLS.
    pub(super) fn build(self, directory: &Path) -> Result<Option<Arc<ServerConfig>>, Wrong> {
        if self.says_nothing() {
            return Ok(None);
        }
        let pem = |key, inline: &Option<String>, file: &Option<PathBuf>| {
            pem(key, inline.as_deref(), file.as_deref().map(|file| directory.join(file)))
        };
        let certificate = pem("cert", &self.cert, &self.cert_file)?
            .ok_or_else(|| wrong("neither cert nor cert_file is given"))?;
        let key = pem("key", &self.key, &self.key_file)?
            .ok_or_else(|| wrong("neither key nor key_file is given"))?;
        let client_ca = pem("client_ca", &self.client_ca, &self.client_ca_file)?;
        let provider = Arc::new(self.provider());
        let verifier = self.verifier(client_ca.as_ref(), &provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions()?)
            .map_err(|error| wrong(error.to_string()))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let chain = certificate.certificates()?;
        let mut config = builder
            .with_single_cert(chain, key.private_key()?)
            .map_err(|error| key.wrong(error.to_string()))?;
        config.ignore_client_order = self.prefer_server_cipher_suites.unwrap_or(true);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Arc::new(config)))
    }

    const fn says_nothing(&self) -> bool {
        self.cert.is_none()
            && self.key.is_none()
            && self.client_ca.is_none()
            && self.cert_file.is_none()
            && self.key_file.is_none()
            && self.client_ca_file.is_none()
            && self.client_auth_type.is_none()
            && self.client_allowed_sans.is_none()
            && self.min_version.is_none()
            && self.max_version.is_none()
            && self.cipher_suites.is_none()
            && self.curve_preferences.is_none()
            && self.prefer_server_cipher_suites.is_none()
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if let Some(suites) = self.cipher_suites.as_ref().filter(|suites| !suites.is_empty()) {
            // As in Go the list concerns TLS 1.2 only: the suites of 1.3 are all good.
            provider.cipher_suites.retain(|suite| suite.tls13().is_some());
            let chosen = suites.iter().map(|suite| suite.0);
            provider.cipher_suites.extend(chosen.filter(|suite| suite.tls13().is_none()));
        }
        if let Some(curves) = self.curve_preferences.as_ref().filter(|curves| !curves.is_empty()) {
            provider.kx_groups = curves.iter().map(|curve| curve.0).collect();
        }
        provider
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, Wrong> {
        let oldest = self.min_version.unwrap_or(TlsVersion::Tls12);
        let newest = self.max_version.unwrap_or(TlsVersion::Tls13);
        let all = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
        let chosen: Vec<_> = all
            .into_iter()
            .filter(|(version, _)| (oldest..=newest).contains(version))
            .map(|(_, version)| version)
            .collect();
        if chosen.is_empty() {
            return Err(wrong("max_version is older than min_version"));
        }
        Ok(chosen)
    }

    fn verifier(
        &self,
        client_ca: Option<&Pem>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, Wrong> {
        let authorities = client_ca.map(Pem::certificates).transpose()?;
        let policy = Policy {
            kind: self.client_auth_type.unwrap_or_default(),
            authorities,
            allowed_names: self.client_allowed_sans.clone(),
        };
        client_certificate::verifier(policy, provider).map_err(wrong)
    }
}

/// PEM text and where it came from.
struct Pem {
    key: &'static str,
    file: Option<PathBuf>,
    text: Vec<u8>,
}

/// The PEM of `cert`, `key` or `client_ca`, inline or from the file of that name.
fn pem(
    key: &'static str,
    inline: Option<&str>,
    file: Option<PathBuf>,
) -> Result<Option<Pem>, Wrong> {
    match (inline, file) {
        (Some(_), Some(_)) => Err(wrong(format!("both {key} and {key}_file are given"))),
        (Some(text), None) => Ok(Some(Pem { key, file: None, text: text.into() })),
        (None, Some(file)) => {
            let mut pem = Pem { key, file: Some(file), text: Vec::new() };
            let path = pem.file.clone().unwrap_or_default();
            pem.text = read_bounded(&path).map_err(|error| pem.wrong(error.to_string()))?;
            Ok(Some(pem))
        }
        (None, None) => Ok(None),
    }
}

impl Pem {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Wrong> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.text)
            .collect::<Result<_, _>>()
            .map_err(|error| self.wrong(error.to_string()))?;
        if certificates.is_empty() {
            return Err(self.wrong("no certificate in it"));
        }
        Ok(certificates)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, Wrong> {
        if self.text.windows(b"ENCRYPTED".len()).any(|window| window == b"ENCRYPTED") {
            return Err(self.wrong("the key is encrypted, and nobody is there to be asked"));
        }
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| self.wrong(error.to_string()))
    }

    fn wrong(&self, cause: impl AsRef<str>) -> Wrong {
        let cause = cause.as_ref();
        match &self.file {
            Some(file) => wrong(format!("{}_file {}: {cause}", self.key, file.display())),
            None => wrong(format!("{}: {cause}", self.key)),
        }
    }
}

fn wrong(cause: impl Into<String>) -> Wrong {
    (SECTION, cause.into())
}
