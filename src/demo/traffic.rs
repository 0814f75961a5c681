//! Requests over loopback: quick ones, and downloads that take as long as one wishes.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    process,
    time::Duration,
};

use super::DemoError;

/// For a connection, and for each step of an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than a page of this httpd has.
const LONGEST_PAGE: u64 = 64 << 10;
/// Below the ports that the kernel gives to outgoing connections, one of which could take the
/// port of an httpd that is down for a moment.
const PORTS: (u16, u16) = (12_000, 19_999);

/// Ports of 127.0.0.1 on which nobody listens, each another one.
#[derive(Debug, Default)]
pub struct UnusedPorts {
    tried: u16,
}

impl UnusedPorts {
    /// The next one.
    pub fn take(&mut self) -> Result<u16, DemoError> {
        let (first, last) = PORTS;
        let count = last - first + 1;
        // Demonstrations that run side by side begin at different places.
        let begin = u16::try_from(process::id().wrapping_mul(37) % u32::from(count)).unwrap_or(0);
        while self.tried < count {
            let port = first + (begin + self.tried) % count;
            self.tried += 1;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        Err(DemoError::NoPort(first, last))
    }
}

/// Asks for a path; true: the answer was 200.
pub fn succeeds(address: &str, path: &str) -> io::Result<bool> {
    let address = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut answer = Vec::new();
    ask(address, path)?.take(LONGEST_PAGE).read_to_end(&mut answer)?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// A download of which only the first bytes were taken.
#[derive(Debug)]
pub struct Download {
    stream: TcpStream,
}

impl Download {
    /// Begins one; when this returns, a worker of httpd is busy with it.
    pub fn begin(address: SocketAddr) -> io::Result<Self> {
        let mut stream = ask(address, "/download")?;
        let mut first = [0; 1024];
        stream.read_exact(&mut first)?;
        Ok(Self { stream })
    }

    /// Takes the rest.
    pub fn finish(mut self) -> io::Result<u64> {
        io::copy(&mut self.stream, &mut io::sink())
    }
}

fn ask(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}
