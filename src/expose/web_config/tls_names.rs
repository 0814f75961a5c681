//! The names by which Go, and with it the toolkit, calls versions, suites, curves and policies.

use serde::Deserialize;
use tokio_rustls::rustls::SupportedCipherSuite;
use tokio_rustls::rustls::crypto::SupportedKxGroup;
use tokio_rustls::rustls::crypto::ring::{cipher_suite as suite, kx_group};

/// `min_version` and `max_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum TlsVersion {
    Tls12,
    Tls13,
}

impl TryFrom<String> for TlsVersion {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "TLS12" => Ok(Self::Tls12),
            "TLS13" => Ok(Self::Tls13),
            "TLS10" | "TLS11" => Err(format!("{name} is not offered, TLS12 is the oldest")),
            _ => Err(format!("unknown TLS version {name:?}, expected TLS12 or TLS13")),
        }
    }
}

/// One of `cipher_suites`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct CipherSuite(pub(super) SupportedCipherSuite);

impl TryFrom<String> for CipherSuite {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let suite = match name.as_str() {
            "TLS_AES_128_GCM_SHA256" => suite::TLS13_AES_128_GCM_SHA256,
            "TLS_AES_256_GCM_SHA384" => suite::TLS13_AES_256_GCM_SHA384,
            "TLS_CHACHA20_POLY1305_SHA256" => suite::TLS13_CHACHA20_POLY1305_SHA256,
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
                suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            }
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
                suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            }
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
                suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            }
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
                suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            }
            // Those of Go's list that rustls leaves out: CBC, and RSA key exchange.
            _ if name.starts_with("TLS_") => {
                return Err(format!("cipher suite {name} is unknown or not offered"));
            }
            _ => return Err(format!("unknown cipher suite {name:?}")),
        };
        Ok(Self(suite))
    }
}

/// One of `curve_preferences`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Curve(pub(super) &'static dyn SupportedKxGroup);

impl TryFrom<String> for Curve {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "X25519" => Ok(Self(kx_group::X25519)),
            "CurveP256" => Ok(Self(kx_group::SECP256R1)),
            "CurveP384" => Ok(Self(kx_group::SECP384R1)),
            "CurveP521" => Err("curve CurveP521 is not offered".to_owned()),
            _ => Err(format!("unknown curve {name:?}, expected X25519, CurveP256 or CurveP384")),
        }
    }
}

/// `client_auth_type`, the toolkit's older spelling included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    #[default]
    #[serde(rename = "NoClientCert", alias = "")]
    No,
    #[serde(rename = "RequestClientCert")]
    Request,
    #[serde(rename = "RequireAnyClientCert", alias = "RequireClientCert")]
    RequireAny,
    #[serde(rename = "VerifyClientCertIfGiven")]
    VerifyIfGiven,
    #[serde(rename = "RequireAndVerifyClientCert")]
    RequireAndVerify,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_go_are_known_and_what_cannot_be_done_is_said() {
        let version = |name: &str| TlsVersion::try_from(name.to_owned());
        assert_eq!(version("TLS13"), Ok(TlsVersion::Tls13));
        assert!(version("TLS11").unwrap_err().contains("not offered"));
        assert!(version("1.2").unwrap_err().contains("unknown"));
        let suite = |name: &str| CipherSuite::try_from(name.to_owned()).map(|suite| suite.0);
        assert!(suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256").is_ok());
        assert!(suite("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA").unwrap_err().contains("not offered"));
        assert!(Curve::try_from("CurveP521".to_owned()).unwrap_err().contains("not offered"));
        let policy: ClientAuth = serde_norway::from_str("RequireClientCert").unwrap();
        assert_eq!(policy, ClientAuth::RequireAny);
    }
}
