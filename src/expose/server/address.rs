//! The addresses that the server listens on.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use rustix::net::sockopt::set_socket_send_buffer_size;

/// What the kernel may hold of an answer that a client does not read; accepted sockets inherit it.
///
/// The kernel's own limit is 4 MiB a connection, which 256 slow readers would multiply.
const SEND_BUFFER: usize = 128 * 1024;

/// Connections that may wait to be accepted: a burst beyond it costs its clients a second each,
/// until they send their SYN again. std's own is 128; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// A listening socket, made before capabilities are dropped and before the runtime exists.
#[derive(Debug)]
pub struct BoundListener {
    pub(super) listener: TcpListener,
    address: SocketAddr,
}

impl BoundListener {
    /// The address with the port that was really bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// It is not `HOST:PORT`, or the host is not known.
    #[error("listen address {address:?}: {source}")]
    Resolve {
        /// The address as it was given.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Another program has it, or it needs a privilege.
    #[error("listen on {address}: {source}")]
    Bind {
        /// The address as it was given.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl BindError {
    /// The operating system does not permit it: a port below 1024.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Resolve { .. } => false,
            Self::Bind { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

/// Binds each `HOST:PORT`; an empty host is every address, port 0 picks a free one.
pub fn bind(addresses: &[impl AsRef<str>]) -> Result<Vec<BoundListener>, BindError> {
    addresses.iter().map(|address| bind_one(address.as_ref())).collect()
}

fn bind_one(address: &str) -> Result<BoundListener, BindError> {
    let candidates = candidates(address)
        .map_err(|source| BindError::Resolve { address: address.to_owned(), source })?;
    listen(&candidates).map_err(|source| BindError::Bind { address: address.to_owned(), source })
}

/// The socket addresses to try, in order, until the kernel knows the family of one.
fn candidates(address: &str) -> io::Result<Vec<SocketAddr>> {
    // `:10117`, as Go's net.Listen reads it: IPv6 and IPv4 at once where the kernel has IPv6.
    if let Some(port) = address.strip_prefix(':') {
        let port = port.parse().map_err(io::Error::other)?;
        return Ok(vec![
            (Ipv6Addr::UNSPECIFIED, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
        ]);
    }
    let found: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    // One address, IPv4 first, as Go does: trying the next would hide that the first is taken.
    found
        .iter()
        .find(|found| found.is_ipv4())
        .or(found.first())
        .map(|found| vec![*found])
        .ok_or_else(|| io::Error::other("the host has no address"))
}

fn listen(candidates: &[SocketAddr]) -> io::Result<BoundListener> {
    let mut failure = io::Error::other("no address");
    for candidate in candidates {
        match TcpListener::bind(candidate) {
            Ok(listener) => {
                set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
                // listen(2) on a socket that listens already changes its backlog only.
                rustix::net::listen(&listener, BACKLOG)?;
                let address = listener.local_addr()?;
                return Ok(BoundListener { listener, address });
            }
            Err(error) => {
                let family_is_missing = matches!(
                    rustix::io::Errno::from_io_error(&error),
                    Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL)
                );
                failure = error;
                if !family_is_missing {
                    break;
                }
            }
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_zero_picks_a_free_port_that_is_then_taken() {
        let first = bind(&["127.0.0.1:0"]).unwrap();
        let address = first[0].address();
        assert_ne!(address.port(), 0);
        let error = bind(&[address.to_string()]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("listen on {address}: ")), "{error}");
    }

    #[test]
    fn an_empty_host_is_every_address() {
        assert!(bind(&[":0"]).unwrap()[0].address().ip().is_unspecified());
    }

    #[test]
    fn what_is_no_address_is_named() {
        for wrong in ["10117", "localhost", ":port", "127.0.0.1:99999"] {
            let error = bind(&[wrong]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("listen address {wrong:?}: ")), "{error}");
        }
    }
}
