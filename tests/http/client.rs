//! A client that says exactly what it is told to, over TCP or TLS.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::http::served::SAFETY;

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The value of a header, or "".
    pub(super) fn header(&self, name: &str) -> &str {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.trim())
    }

    /// The body as text.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection and what was read of it too early.
pub(super) struct Client<S = TcpStream> {
    pub(super) stream: S,
    rest: Vec<u8>,
}

impl Client {
    /// Connects over TCP.
    pub(super) fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    /// Connects over TCP from another address of this host.
    pub(super) fn connect_from(host: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(host, 0)).unwrap();
        connect(&socket, &address).unwrap();
        Self::of(socket.into())
    }

    /// Takes over a connection.
    pub(super) fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        stream.set_write_timeout(Some(SAFETY)).unwrap();
        Self { stream, rest: Vec::new() }
    }

    /// Ends this side of the conversation.
    pub(super) fn end(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Waits, without reading anything, until the server has reset the connection.
    pub(super) fn wait_reset(&self) {
        let mut fds = [PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::empty())];
        let timeout = Timespec { tv_sec: i64::try_from(SAFETY.as_secs()).unwrap(), tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1, "the server cuts the connection");
        assert!(fds[0].revents().contains(PollFlags::ERR), "{:?}", fds[0].revents());
    }
}

impl Client<StreamOwned<ClientConnection, TcpStream>> {
    /// Connects over TLS; the handshake happens with the first byte.
    pub(super) fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        Self {
            stream: StreamOwned::new(connection, Client::connect(address).stream),
            rest: Vec::new(),
        }
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends bytes.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).unwrap();
        self
    }

    /// Sends bytes to a server that may have hung up.
    pub(super) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Asks for a path, with further header lines, each with its end.
    pub(super) fn ask(&mut self, method: &str, path: &str, headers: &str) -> &mut Self {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"))
    }

    /// Asks for a path and reads the answer.
    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "").answer()
    }

    /// Reads an answer with its body.
    pub(super) fn answer(&mut self) -> Answer {
        self.try_answer(true).unwrap()
    }

    /// Reads an answer to HEAD.
    pub(super) fn answer_to_head(&mut self) -> Answer {
        self.try_answer(false).unwrap()
    }

    /// Reads an answer of a server that may hang up.
    pub(super) fn try_answer(&mut self, with_body: bool) -> io::Result<Answer> {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more()?;
        };
        let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").parse().unwrap_or(0);
        while with_body && self.rest.len() < length {
            self.read_more()?;
        }
        answer.body = self.rest.drain(..length.min(self.rest.len())).collect();
        Ok(answer)
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.rest.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }

    /// Waits until the server has hung up, and returns what it said before.
    pub(super) fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.read_more() {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    return std::mem::take(&mut self.rest);
                }
                Err(error) => panic!("the server hangs up: {error}"),
            }
        }
    }
}
