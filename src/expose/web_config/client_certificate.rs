//! Whether a client's certificate lets it in: Go's five policies and the toolkit's allowed names.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use webpki::EndEntityCert;

use super::tls_names::ClientAuth;

/// What is asked of a client's certificate.
pub(super) struct Policy {
    pub(super) kind: ClientAuth,
    pub(super) authorities: Option<Vec<CertificateDer<'static>>>,
    pub(super) allowed_names: Option<Vec<String>>,
}

/// The verifier of a policy; none where no certificate is asked for.
pub(super) fn verifier(
    policy: Policy,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ClientCertVerifier> = match policy.kind {
        ClientAuth::No if policy.authorities.is_some() => {
            return Err("client_ca needs a client_auth_type".to_owned());
        }
        ClientAuth::No if policy.allowed_names.is_some() => return Err(names_need_a_certificate()),
        ClientAuth::No => return Ok(None),
        ClientAuth::Request => Arc::new(AnyCertificate { is_mandatory: false, algorithms }),
        ClientAuth::RequireAny => Arc::new(AnyCertificate { is_mandatory: true, algorithms }),
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
            verified(policy.kind, policy.authorities, provider)?
        }
    };
    let Some(names) = policy.allowed_names else {
        return Ok(Some(verifier));
    };
    if !verifier.client_auth_mandatory() {
        return Err(names_need_a_certificate());
    }
    if let Some(name) = names.iter().find(|name| is_mail_address(name)) {
        return Err(format!("client_allowed_sans: {name}: e-mail addresses are not compared"));
    }
    Ok(Some(Arc::new(NamedCertificate { verifier, names })))
}

fn names_need_a_certificate() -> String {
    "client_allowed_sans needs client_auth_type RequireAnyClientCert or RequireAndVerifyClientCert"
        .to_owned()
}

fn is_mail_address(name: &str) -> bool {
    name.contains('@') && !name.contains(':')
}

fn verified(
    kind: ClientAuth,
    authorities: Option<Vec<CertificateDer<'static>>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    // Go would trust whatever authority the host trusts for servers, which is never meant.
    let authorities =
        authorities.ok_or("this client_auth_type needs client_ca_file or client_ca")?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| format!("client_ca: {error}"))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match kind {
        ClientAuth::VerifyIfGiven => builder.allow_unauthenticated(),
        ClientAuth::No
        | ClientAuth::Request
        | ClientAuth::RequireAny
        | ClientAuth::RequireAndVerify => builder,
    };
    let verifier = builder.build().map_err(|error| format!("client_ca: {error}"))?;
    Ok(verifier)
}

/// Admits every certificate whose key the client holds, as `RequireAnyClientCert` says.
#[derive(Debug)]
struct AnyCertificate {
    is_mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Admits what another verifier admits, if it carries one of the names.
#[derive(Debug)]
struct NamedCertificate {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl NamedCertificate {
    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else {
            return false;
        };
        self.names.iter().any(|name| match name.parse::<IpAddr>() {
            Ok(address) => {
                let address = ServerName::IpAddress(address.into());
                certificate.verify_is_valid_for_subject_name(&address).is_ok()
            }
            // Compared exactly, as the toolkit does: a wildcard is its own name only.
            Err(_) => certificate
                .valid_dns_names()
                .chain(certificate.valid_uri_names())
                .any(|presented| presented == name),
        })
    }
}

impl ClientCertVerifier for NamedCertificate {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(certificate, intermediates, now)?;
        if self.is_named(certificate) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
