//! What holds of whatever lies in the place of a certificate or a key.

use gracekeeper::decode::{certificate, private_key};

/// Whether it is one.
pub(crate) fn certificate(input: &[u8]) -> bool {
    let first = certificate::first(input);
    if let Some(whole) = certificate::of_der(input) {
        // Text that is PEM is no DER.
        assert_eq!(first, Some(whole));
        assert_eq!(certificate::of_der(&[input, b"more"].concat()), Some(whole));
    }
    if let Some(found) = first {
        let [begins, ends] = [found.begins, found.ends].map(|time| time.as_micros() / 1_000_000);
        // The years that a certificate has digits for.
        assert!([begins, ends].iter().all(|it| (-62_167_305_600..253_402_387_200).contains(it)));
        assert!(input.len() > 64);
    }
    first.is_some()
}

/// Whether it is one, and encrypted.
pub(crate) fn private_key(input: &[u8]) -> Option<bool> {
    let found = private_key::key_file(input).map(|key| key.is_encrypted);
    if !input.starts_with(&[0x30]) && found.is_some() {
        let text = String::from_utf8_lossy(input);
        assert!(text.contains("PRIVATE KEY-----"));
        assert!(found != Some(true) || text.contains("ENCRYPTED"));
        // What follows it does not count.
        let more = [input, b"\n-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"].concat();
        assert_eq!(private_key::key_file(&more).map(|key| key.is_encrypted), found);
    }
    found
}
