//! URLs that gracekeeper may be told to ask.

use std::net::IpAddr;

use hyper::Uri;

/// A checked http or https URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    text: String,
    uri: Uri,
    is_plain: bool,
    is_loopback: bool,
}

impl Url {
    /// Reads an absolute http or https URL with a host and without credentials.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_plain = match uri.scheme_str()?.to_ascii_lowercase().as_str() {
            "http" => true,
            "https" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // `config show` would print a password, and Uri takes `host:99999` for a host without a port.
        let port = authority.as_str().strip_prefix(authority.host())?;
        if !port.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
            return None;
        }
        // Uri drops a fragment without a word.
        if text.contains('#') {
            return None;
        }
        let is_loopback = is_loopback(authority.host())?;
        Some(Self { text: text.to_owned(), uri, is_plain, is_loopback })
    }

    /// As it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// As it is asked for.
    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// It is http, not https.
    pub(super) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// What is sent to it crosses a network unencrypted.
    pub(super) const fn is_exposed(&self) -> bool {
        self.is_plain && !self.is_loopback
    }
}

/// Whether a host is this one; `None` if it is no host at all.
fn is_loopback(host: &str) -> Option<bool> {
    if let Some(bracketed) = host.strip_prefix('[') {
        let address: IpAddr = bracketed.strip_suffix(']')?.parse().ok()?;
        return Some(address.is_loopback());
    }
    if host.is_empty() {
        return None;
    }
    Some(
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (text, exposed) in [
            ("http://127.0.0.1/server-status?auto", false),
            ("http://localhost:8080", false),
            ("http://[::1]:2379/", false),
            ("https://prometheus.example", false),
            ("http://10.0.0.1:2379", true),
            ("http://localhost.example/", true),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.as_str(), url.is_exposed()), (text, exposed));
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "/x",
            "127.0.0.1:80",
            "ftp://x/",
            "http://",
            "http:///x",
            "http://a b/",
            "http://[zz]/",
            "http://x:99999/",
            "http://x:0/",
            "http://x:/",
            "http://user:word@x/",
            "http://x/#f",
            "file:///etc",
        ] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
