//! A folder with certificates and a web configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gracekeeper::expose::server::{Limits, ServerOptions};
use gracekeeper::expose::web_config::WebConfigFile;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::http::served::Served;

/// A directory with an authority, certificates and a web configuration.
pub(super) struct Folder {
    directory: TempDir,
    authority: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Folder {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), root.pem()).unwrap();
        let root = root.der().clone();
        Self { directory, authority: Issuer::new(params, key), root }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key` for a subject.
    pub(super) fn issue(&self, name: &str, subject: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![subject.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        replace(&self.path(&format!("{name}.pem")), &certificate.pem());
        replace(&self.path(&format!("{name}.key")), &key.serialize_pem());
    }

    /// Opens the web configuration, to be looked at before every request.
    pub(super) fn open(&self, text: &str) -> Arc<WebConfigFile> {
        let path = self.path("web.yml");
        replace(&path, text);
        Arc::new(WebConfigFile::open(&path, Duration::ZERO).unwrap())
    }

    /// A client of the authority, with the certificate of this name if there is one.
    pub(super) fn client(&self, certificate: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let Some(name) = certificate else {
            return Arc::new(builder.with_no_client_auth());
        };
        let chain = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        Arc::new(builder.with_client_auth_cert(vec![chain], key).unwrap())
    }
}

/// Replaces a file at once, as tools that care do.
pub(super) fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Serves under the file.
pub(super) fn served(file: &Arc<WebConfigFile>, limits: Limits) -> Served {
    let web_config = Some(Arc::clone(file));
    Served::with(ServerOptions { web_config, limits, ..ServerOptions::default() })
}
