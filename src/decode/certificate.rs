//! Certificates: how long they are valid, and which is which.

use x509_parser::{
    certificate::{X509Certificate, X509CertificateParser},
    nom::Parser as _,
    time::ASN1Time,
    x509::SubjectPublicKeyInfo,
};

use super::{digest::digest, pem::sections};
use crate::model::{
    time::Timestamp,
    tls::{Certificate, KeyAlgorithm},
};

/// What OpenSSL takes for a certificate.
const LABELS: [&[u8]; 3] = [b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE"];
const RSA: &str = "1.2.840.113549.1.1.1";
const ELLIPTIC_CURVE: &str = "1.2.840.10045.2.1";

/// The first certificate of a file, PEM or DER: the one that `mod_ssl` hands out; `None` if it has
/// none, or if that cannot be read.
#[must_use]
pub fn first(file: &[u8]) -> Option<Certificate> {
    let section = sections(file).find(|section| LABELS.contains(&section.label));
    match section {
        Some(section) => of_der(&section.decoded()?),
        None => of_der(file),
    }
}

/// A certificate as a handshake shows it; what follows it, such as what OpenSSL adds to a trusted
/// one, is passed over.
#[must_use]
pub fn of_der(der: &[u8]) -> Option<Certificate> {
    // What extensions say does not count here, and those of others need not be read.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (rest, certificate) = parser.parse(der).ok()?;
    let own = der.get(..der.len().checked_sub(rest.len())?)?;
    Some(read(own, &certificate))
}

fn read(der: &[u8], certificate: &X509Certificate<'_>) -> Certificate {
    let validity = certificate.validity();
    Certificate {
        begins: timestamp(validity.not_before),
        ends: timestamp(validity.not_after),
        fingerprint: digest([der]),
        algorithm: algorithm(certificate.public_key()),
    }
}

fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000))
}

fn algorithm(key: &SubjectPublicKeyInfo<'_>) -> KeyAlgorithm {
    match key.algorithm.algorithm.to_id_string().as_str() {
        RSA => KeyAlgorithm::Rsa,
        ELLIPTIC_CURVE => KeyAlgorithm::Ecdsa,
        _ => KeyAlgorithm::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/fuzz/corpus/certificate/", $name)).as_slice()
        };
    }

    fn seconds(time: &str) -> i64 {
        time.parse::<jiff::Timestamp>().unwrap().as_second()
    }

    /// The beginning of what `openssl x509 -fingerprint -sha256` prints, dates, algorithm.
    fn shown(file: &[u8]) -> Option<([u8; 4], i64, i64, KeyAlgorithm)> {
        let Certificate {
            begins,
            ends,
            fingerprint: crate::model::files::Digest(digest),
            algorithm,
        } = first(file)?;
        let [begins, ends] = [begins, ends].map(|time| time.as_micros() / 1_000_000);
        Some((digest[..4].try_into().unwrap(), begins, ends, algorithm))
    }

    /// Each but DER was given to 2.4.71, which served it.
    #[test]
    fn the_first_certificate_is_what_openssl_says_of_it() {
        let (begins, ends) = (seconds("2026-11-23T02:19:20Z"), seconds("2027-11-23T02:19:20Z"));
        let rsa = [0xf1, 0x90, 0x1f, 0xef];
        let ec = [0x7c, 0x54, 0xd1, 0x37];
        for (name, file, digest, algorithm) in [
            ("rsa", file!("rsa"), rsa, KeyAlgorithm::Rsa),
            ("rsa-der", file!("rsa-der"), rsa, KeyAlgorithm::Rsa),
            ("rsa-trusted", file!("rsa-trusted"), rsa, KeyAlgorithm::Rsa),
            ("rsa-text", file!("rsa-text"), rsa, KeyAlgorithm::Rsa),
            ("followed", file!("followed"), rsa, KeyAlgorithm::Rsa),
            ("key-before", file!("key-before"), ec, KeyAlgorithm::Ecdsa),
            ("ec-crlf", file!("ec-crlf"), ec, KeyAlgorithm::Ecdsa),
            ("ed", file!("ed"), [0x16, 0xad, 0x30, 0x27], KeyAlgorithm::Other),
            ("pss", file!("pss"), [0x24, 0xae, 0x6b, 0x92], KeyAlgorithm::Other),
        ] {
            assert_eq!(shown(file), Some((digest, begins, ends, algorithm)), "{name}");
        }
    }

    #[test]
    fn dates_may_be_far_away() {
        let dates = |file| shown(file).map(|(_, begins, ends, _)| (begins, ends));
        let [begins, ends] = ["1950-01-01T00:00:00Z", "1969-12-31T23:59:59Z"].map(seconds);
        assert_eq!(dates(file!("old")), Some((begins, ends)));
        let [begins, ends] = [-62_167_219_200, 253_402_300_799];
        assert_eq!(dates(file!("far")), Some((begins, ends)), "the years 0 and 9999");
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for (name, file) in [
            ("nothing", file!("nothing")),
            ("cut", file!("cut")),
            ("cut-der", file!("cut-der")),
            ("no-certificate", file!("no-certificate")),
            ("no-date", file!("no-date")),
            ("month-13", file!("month-13")),
            ("longer-than-it-is", file!("longer-than-it-is")),
            ("nested", file!("nested")),
            ("no-ends", file!("no-ends")),
            ("not-base64", file!("not-base64")),
        ] {
            assert_eq!(first(file), None, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_certificate_is_spoilt_with_is_survived(
            at in 0..1000_usize, byte: u8, length in 0..1000_usize,
        ) {
            let whole = file!("rsa-der");
            let mut der = whole.to_vec();
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            der.truncate(length);
            let found = of_der(&der);
            // Its length is in the first four bytes.
            proptest::prop_assert!(length >= whole.len() || at < 4 || found.is_none());
        }
    }
}
