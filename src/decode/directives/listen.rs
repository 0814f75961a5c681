//! The address of a `Listen`.

use std::net::IpAddr;

use crate::model::settings::Listen;

/// `80`, `127.0.0.1:80`, `[::1]:80`, `[fe80::1%eth0]:80`, `*:80`; `None` of a name that would have
/// to be looked up.
pub(super) fn listen(text: &[u8]) -> Option<Listen> {
    let text = std::str::from_utf8(text).ok()?;
    let Some((address, port)) = text.rsplit_once(':') else {
        return Some(Listen { address: None, port: text.parse().ok()? });
    };
    let port = port.parse().ok()?;
    if address == "*" {
        return Some(Listen { address: None, port });
    }
    let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = inner.map_or(address, |inner| inner.split('%').next().unwrap_or_default());
    let address: IpAddr = address.parse().ok()?;
    // One that says nothing of the address is one of all addresses of its kind, or of both.
    Some(Listen { address: Some(address), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_httpd_writes_it() {
        for (text, expected) in [
            ("80", Some((None, 80))),
            ("*:8080", Some((None, 8080))),
            ("127.0.0.1:80", Some((Some("127.0.0.1"), 80))),
            ("[::]:443", Some((Some("::"), 443))),
            ("[fe80::1%eth0]:443", Some((Some("fe80::1"), 443))),
            ("localhost:80", None),
            ("99999", None),
            ("", None),
            (":80", None),
            ("[::1]", None),
        ] {
            let expected = expected.map(|(address, port)| Listen {
                address: address.map(|address| address.parse().unwrap()),
                port,
            });
            assert_eq!(listen(text.as_bytes()), expected, "{text}");
        }
    }
}
