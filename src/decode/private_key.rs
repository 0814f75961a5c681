//! Files of private keys: whether one is encrypted. The key itself is not decoded.

use super::pem::sections;
use crate::model::files::KeyFile;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The first private key of a file, PEM or DER, as `mod_ssl` takes it; `None` if there is none.
#[must_use]
pub fn key_file(file: &[u8]) -> Option<KeyFile> {
    let section = sections(file).find(|section| is_key(section.label));
    let is_encrypted = match section {
        Some(section) => section.label == b"ENCRYPTED PRIVATE KEY" || section.is_encrypted(),
        None => is_encrypted_der(file)?,
    };
    Some(KeyFile { is_encrypted })
}

/// `PRIVATE KEY`, or that of an algorithm; what OpenSSH writes, OpenSSL does not read.
fn is_key(label: &[u8]) -> bool {
    let algorithm = label.strip_suffix(b"PRIVATE KEY");
    algorithm.is_some_and(|algorithm| {
        algorithm.is_empty() || (algorithm.ends_with(b" ") && algorithm != b"OPENSSH ")
    })
}

/// `None` if it is no key. PKCS#8, PKCS#1 and SEC 1 begin with their version, an encrypted PKCS#8
/// with what it is encrypted by.
fn is_encrypted_der(file: &[u8]) -> Option<bool> {
    let (whole, _) = value(SEQUENCE, file)?;
    if let Some((version, rest)) = value(INTEGER, whole) {
        let next = *rest.first()?;
        let is_known = matches!(version, [0 | 1]);
        let is_key = is_known && [SEQUENCE, INTEGER, OCTET_STRING].contains(&next);
        return is_key.then_some(false);
    }
    let (algorithm, rest) = value(SEQUENCE, whole)?;
    value(OBJECT_IDENTIFIER, algorithm)?;
    value(OCTET_STRING, rest)?;
    Some(true)
}

/// What is in the first value, if it has this tag and is whole, and what follows it.
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = bytes.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! file {
        ($name:literal) => {
            (
                $name,
                include_bytes!(concat!("../../tests/fuzz/corpus/private_key/", $name)).as_slice(),
            )
        };
    }

    fn encrypted(file: &[u8]) -> Option<bool> {
        key_file(file).map(|key| key.is_encrypted)
    }

    /// As `openssl` 3.0 writes them; 2.4.71 reads them all but `rsa-encrypted-der`, and asks for the
    /// pass phrases of the others that are encrypted.
    #[test]
    fn a_key_is_found_and_whether_it_is_encrypted() {
        for (name, file) in [
            file!("rsa"),
            file!("rsa-traditional"),
            file!("rsa-der"),
            file!("rsa-traditional-der"),
            file!("ec-parameters"),
            file!("ec-der"),
            file!("ed"),
            file!("ed-der"),
            file!("dsa"),
            file!("with-certificates"),
        ] {
            assert_eq!(encrypted(file), Some(false), "{name}");
        }
        for (name, file) in [
            file!("rsa-encrypted"),
            file!("rsa-traditional-encrypted"),
            file!("rsa-encrypted-der"),
            file!("ec-encrypted"),
            file!("ed-encrypted"),
            file!("encrypted-with-certificate"),
        ] {
            assert_eq!(encrypted(file), Some(true), "{name}");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        for (name, file) in [
            file!("nothing"),
            file!("cut"),
            file!("cut-der"),
            file!("certificate"),
            file!("certificate-der"),
            file!("public"),
            file!("public-der"),
            file!("openssh"),
            file!("longer-than-it-is"),
        ] {
            assert_eq!(encrypted(file), None, "{name}");
        }
    }

    #[test]
    fn the_first_key_counts() {
        let [(_, plain), (_, other)] = [file!("rsa"), file!("rsa-encrypted")];
        assert_eq!(encrypted(&[plain, other].concat()), Some(false));
        assert_eq!(encrypted(&[other, plain].concat()), Some(true));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, length in 0..200_usize) {
            let (_, der) = file!("rsa-encrypted-der");
            let begun: Vec<u8> = der.iter().take(length).copied().chain(bytes).collect();
            proptest::prop_assert!(encrypted(&begun) != Some(false));
        }
    }
}
