//! Whether a connection would find a worker, as far as the kernel's socket diagnosis can tell.
//!
//! A connection that waits at a listener says that nobody is there to accept it. Who may not read
//! the scoreboard counts the server's connections too: each child has at least one worker, and a
//! busy worker has a connection, so that fewer connections than children leave a worker free. One
//! whose client has reset it is not counted, and may be busy all the same: then the queue tells.

use std::{net::SocketAddr, time::Duration};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
        socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use crate::decode::socket_diagnosis::{
    Broken, CONNECTED, Diagnosed, End, Family, LISTENING, answer, connections, request_at,
};

/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_millis(250);
/// More than the kernel puts into one datagram.
const DATAGRAM: usize = 64 << 10;
/// A host whose answer is longer has other sorrows.
const MOST_DATAGRAMS: usize = 256;
/// Each port costs the kernel a walk through all its connections.
const MOST_PORTS: usize = 8;

/// What must hold before a handshake, besides that nobody waits at the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nothing: the scoreboard has just shown a worker that is ready.
    Known,
    /// Fewer connections than living children.
    Fewer {
        /// The children of the running generation.
        children: u64,
        /// Every port at which the server listens.
        ports: Vec<u16>,
    },
}

impl Room {
    /// Whether a connection to one of these places, which are one listener's, would find a worker
    /// now. Where the kernel does not tell, what the scoreboard has shown decides.
    pub(super) fn is_there(&self, places: &[SocketAddr]) -> bool {
        let waiting = places.first().and_then(|place| waiting(place.port()));
        match self {
            Self::Known => waiting.unwrap_or(0) == 0,
            Self::Fewer { children, ports } => {
                waiting == Some(0) && connected(ports, *children).is_some_and(|it| it < *children)
            }
        }
    }
}

/// Connections that wait at the listeners of a port to be accepted.
fn waiting(port: u16) -> Option<u64> {
    let mut found: Vec<Diagnosed> = Vec::new();
    ask(port, LISTENING, |datagram, serial| {
        answer(datagram, serial, &mut found).map(|end| end.map_or(Next::Read, Next::End))
    })?;
    Some(found.iter().map(|it| u64::from(it.socket.queue)).sum())
}

/// Connections at these ports; of many no more than are `enough`.
fn connected(ports: &[u16], enough: u64) -> Option<u64> {
    if ports.is_empty() || ports.len() > MOST_PORTS {
        return None;
    }
    let mut count = 0;
    for port in ports {
        ask(*port, CONNECTED, |datagram, serial| {
            let end = connections(datagram, serial, &mut count)?;
            Ok(if count >= enough { Next::Enough } else { end.map_or(Next::Read, Next::End) })
        })?;
        if count >= enough {
            break;
        }
    }
    Some(count)
}

/// What comes after a datagram.
enum Next {
    Read,
    End(End),
    Enough,
}

/// Asks for the sockets of a port in these states, of both families; `None`: the kernel does not
/// tell.
fn ask(
    port: u16,
    states: u32,
    mut read: impl FnMut(&[u8], u32) -> Result<Next, Broken>,
) -> Option<()> {
    // A socket for each question: an answer that is not read to its end would be in the way of the
    // next one.
    for (serial, family) in [(1, Family::V4), (2, Family::V6)] {
        let kind = SocketType::DGRAM;
        let (flags, diagnosis) = (SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG));
        let netlink = socket_with(AddressFamily::NETLINK, kind, flags, diagnosis).ok()?;
        set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE)).ok()?;
        let request = request_at(family, serial, port, states);
        send(&netlink, &request, SendFlags::empty()).ok()?;
        let mut datagram = vec![0; DATAGRAM];
        let mut left = MOST_DATAGRAMS;
        loop {
            left = left.checked_sub(1)?;
            let (length, whole) = match recv(&netlink, datagram.as_mut_slice(), RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                received => received.ok()?,
            };
            let bytes = datagram.get(..length).filter(|it| !it.is_empty() && whole == length)?;
            match read(bytes, serial).ok()? {
                Next::Read => {}
                Next::Enough => return Some(()),
                Next::End(End::Done) => break,
                // A kernel that was built or started without it.
                Next::End(End::Refused(_)) if family == Family::V6 => break,
                Next::End(End::Refused(_)) => return None,
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_that_wait_and_those_that_are_accepted_are_told() {
        for local in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (Ipv6Addr::LOCALHOST, 0).into()] {
            let Ok(listener) = TcpListener::bind(local) else { continue };
            let place = listener.local_addr().unwrap();
            let port = place.port();
            assert_eq!((waiting(port), connected(&[port], 9)), (Some(0), Some(0)));
            let room = |children| Room::Fewer { children, ports: vec![port] };
            assert!(room(1).is_there(&[place]) && !room(0).is_there(&[place]));
            let client = TcpStream::connect(place).unwrap();
            assert_eq!((waiting(port), connected(&[port], 9)), (Some(1), Some(1)));
            assert!(!Room::Known.is_there(&[place]) && !room(9).is_there(&[place]));
            let (server, _) = listener.accept().unwrap();
            assert_eq!((waiting(port), connected(&[port], 9)), (Some(0), Some(1)));
            assert!(Room::Known.is_there(&[place]), "the scoreboard knows better");
            assert!(!room(1).is_there(&[place]) && room(2).is_there(&[place]));
            drop(client);
            assert_eq!(connected(&[port], 9), Some(1), "somebody may be busy with it");
            drop(server);
            assert_eq!(connected(&[port], 9), Some(0));
        }
    }

    #[test]
    fn where_it_cannot_be_told_only_the_scoreboard_helps() {
        assert_eq!(connected(&[], 1), None);
        assert_eq!(connected(&[1; MOST_PORTS + 1], 1), None);
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        assert!(!Room::Fewer { children: 9, ports: Vec::new() }.is_there(&[place]));
    }
}
