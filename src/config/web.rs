//! Where gracekeeper listens.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Paths that are something else already.
const TAKEN: [&str; 2] = ["/-/", "/api/"];

/// An address to listen on, as the Prometheus exporters take it: `127.0.0.1:10117`, `:9117`, `[::1]:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an address; empty for every interface.
    host: String,
    port: u16,
}

/// The path of the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(String);

/// Why an address or a path cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// There is no port in it.
    #[error("must be HOST:PORT, such as 127.0.0.1:10117 or :10117")]
    NoPort,
    /// The port is no number up to 65535.
    #[error("the port must be a number from 0 to 65535")]
    Port,
    /// The host is neither a name nor an address.
    #[error("the host must be a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// The path is not one that a browser could ask for.
    #[error("must begin with / and have no spaces, control characters, ? or #")]
    Path,
    /// The path is something else.
    #[error("must not begin with /-/ or /api/, which are gracekeeper's own")]
    Taken,
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.to_string(), port: 10117 }
    }
}

impl FromStr for ListenAddress {
    type Err = WebError;

    fn from_str(text: &str) -> Result<Self, WebError> {
        let (host, port) = text.rsplit_once(':').ok_or(WebError::NoPort)?;
        // `parse` alone would take `+1`.
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(WebError::Port);
        }
        let port = port.parse().map_err(|_| WebError::Port)?;
        let host = match host.strip_prefix('[') {
            Some(address) => {
                let address = address.strip_suffix(']').ok_or(WebError::Host)?;
                address.parse::<Ipv6Addr>().map_err(|_| WebError::Host)?.to_string()
            }
            None => host.to_owned(),
        };
        let is_address = host.parse::<Ipv6Addr>().is_ok() && text.starts_with('[');
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !is_address && !host.bytes().all(is_name) {
            return Err(WebError::Host);
        }
        Ok(Self { host, port })
    }
}

impl ListenAddress {
    /// The port; 0 for a free one.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// An address to connect to from this host.
    #[must_use]
    pub fn reachable(&self) -> String {
        if self.host.is_empty() {
            return format!("{}:{}", Ipv4Addr::LOCALHOST, self.port);
        }
        self.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(formatter, "[{}]:{}", self.host, self.port);
        }
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl TelemetryPath {
    /// The path, from its first slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TelemetryPath {
    fn default() -> Self {
        Self("/metrics".to_owned())
    }
}

impl FromStr for TelemetryPath {
    type Err = WebError;

    fn from_str(text: &str) -> Result<Self, WebError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
        if !text.starts_with('/') || !text.bytes().all(is_plain) {
            return Err(WebError::Path);
        }
        if TAKEN.iter().any(|taken| text.starts_with(taken)) {
            return Err(WebError::Taken);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read() {
        for text in
            ["127.0.0.1:10117", ":9117", "[::1]:1", "localhost:0", "0.0.0.0:65535", "[::]:80"]
        {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        assert_eq!(ListenAddress::default().to_string(), "127.0.0.1:10117");
    }

    #[test]
    fn what_is_no_listen_address_is_refused() {
        for (text, error) in [
            ("", WebError::NoPort),
            ("localhost", WebError::NoPort),
            ("127.0.0.1:", WebError::Port),
            ("127.0.0.1:65536", WebError::Port),
            ("127.0.0.1:+1", WebError::Port),
            ("127.0.0.1:http", WebError::Port),
            ("::1:80", WebError::Host),
            ("[::1:80", WebError::Host),
            ("[localhost]:80", WebError::Host),
            ("a b:80", WebError::Host),
            ("http://x:80", WebError::Host),
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(error), "{text}");
        }
    }

    #[test]
    fn telemetry_paths_are_read_or_refused() {
        for text in ["/metrics", "/", "/a/b.c"] {
            assert_eq!(text.parse::<TelemetryPath>().unwrap().as_str(), text);
        }
        for text in ["", "metrics", "/a b", "/a?b", "/a#b", "/\u{7}", "/é"] {
            assert_eq!(text.parse::<TelemetryPath>(), Err(WebError::Path), "{text}");
        }
        assert_eq!("/-/ready".parse::<TelemetryPath>(), Err(WebError::Taken));
        assert_eq!("/api/v1/status".parse::<TelemetryPath>(), Err(WebError::Taken));
    }
}
