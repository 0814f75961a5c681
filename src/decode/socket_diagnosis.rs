//! The kernel's socket diagnosis, `NETLINK_SOCK_DIAG` of `linux/inet_diag.h`: which TCP sockets
//! listen.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::model::resources::ListeningSocket;

/// The bytes of a request: `struct nlmsghdr`, `struct inet_diag_req_v2`.
pub const REQUEST: usize = 72;

/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;
/// The other states, as `net/tcp_states.h` has them.
const ESTABLISHED: u8 = 1;
const SYN_RECEIVED: u8 = 3;
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
/// The states of a socket that listens.
pub const LISTENING: u32 = 1 << LISTEN;
/// The states of a connection that [`connections`] counts.
pub const CONNECTED: u32 = (1 << ESTABLISHED)
    | (1 << SYN_RECEIVED)
    | (1 << FIN_WAIT_1)
    | (1 << FIN_WAIT_2)
    | (1 << CLOSE_WAIT);
/// `INET_DIAG_SKMEMINFO`.
const SOCKET_MEMORY: u16 = 7;
/// The place of `SK_MEMINFO_DROPS` in it, which kernels before 4.12 do not tell.
const DROPS: usize = 8;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;

/// Of which kind the addresses are that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

/// A listening socket, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosed {
    /// The socket.
    pub socket: ListeningSocket,
    /// The user that made it.
    pub owner: u32,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All was told.
    Done,
    /// The kernel does not tell, by this `errno`.
    Refused(i32),
}

/// Bytes that are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Asks for every listening TCP socket of a family, in the byte order of this machine.
#[must_use]
pub fn request(family: Family, serial: u32) -> [u8; REQUEST] {
    let family = match family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    let header = [&72u32.to_ne_bytes()[..], &BY_FAMILY.to_ne_bytes(), &DUMP.to_ne_bytes()];
    let serial = serial.to_ne_bytes();
    let wanted = [family, TCP, 1 << (SOCKET_MEMORY - 1), 0];
    let parts = [header.concat(), serial.into(), vec![0; 4], wanted.into()];
    let mut request = [0; REQUEST];
    for (to, from) in
        request.iter_mut().zip(parts.concat().into_iter().chain(LISTENING.to_ne_bytes()))
    {
        *to = from;
    }
    request
}

/// Asks for the sockets of one port only, in these states: bits that count from 1, as the kernel's.
#[must_use]
pub fn request_at(family: Family, serial: u32, port: u16, states: u32) -> [u8; REQUEST] {
    let mut request = request(family, serial);
    let changed = states.to_ne_bytes().into_iter().chain(port.to_be_bytes());
    for (to, from) in request.iter_mut().skip(HEADER + 4).zip(changed) {
        *to = from;
    }
    request
}

/// Reads one datagram of the answer to the request of this serial number, and adds the sockets that
/// it tells of. `None`: the answer goes on.
pub fn answer(
    datagram: &[u8],
    serial: u32,
    found: &mut Vec<Diagnosed>,
) -> Result<Option<End>, Broken> {
    each(datagram, serial, |body| {
        found.extend(listening(body)?);
        Ok(())
    })
}

/// Reads one datagram as [`answer`] does, and counts the connections among its sockets that
/// somebody may be busy with.
pub fn connections(datagram: &[u8], serial: u32, count: &mut u64) -> Result<Option<End>, Broken> {
    each(datagram, serial, |body| {
        let state = body.get(1).copied().ok_or(Broken)?;
        let is_open = u32_at(body, MESSAGE - 4).ok_or(Broken)? != 0;
        *count += u64::from(match state {
            // One that nobody accepted yet belongs to nobody, either.
            ESTABLISHED | SYN_RECEIVED | CLOSE_WAIT => true,
            // httpd lingers, which holds a worker of some MPMs; later only the kernel waits.
            FIN_WAIT_1 | FIN_WAIT_2 => is_open,
            _ => false,
        });
        Ok(())
    })
}

/// Reads the sockets of one datagram.
fn each(
    mut datagram: &[u8],
    serial: u32,
    mut socket: impl FnMut(&[u8]) -> Result<(), Broken>,
) -> Result<Option<End>, Broken> {
    while !datagram.is_empty() {
        let length = usize::try_from(u32_at(datagram, 0).ok_or(Broken)?).map_err(|_| Broken)?;
        let kind = u16_at(datagram, 4).ok_or(Broken)?;
        let of = u32_at(datagram, 8).ok_or(Broken)?;
        let body = datagram.get(HEADER..length).ok_or(Broken)?;
        if of == serial {
            match kind {
                DONE | ERROR => return Ok(Some(end(kind, body)?)),
                BY_FAMILY => socket(body)?,
                _ => {}
            }
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

/// Both begin with a negative `errno`; a dump that ended well may say nothing.
fn end(kind: u16, body: &[u8]) -> Result<End, Broken> {
    let code = match (u32_at(body, 0), kind) {
        (Some(code), _) => code.cast_signed(),
        (None, DONE) => 0,
        (None, _) => return Err(Broken),
    };
    Ok(if code == 0 { End::Done } else { End::Refused(code.saturating_neg()) })
}

/// `None`: it does not listen.
fn listening(body: &[u8]) -> Result<Option<Diagnosed>, Broken> {
    let fixed = body.get(..MESSAGE).ok_or(Broken)?;
    let [family, state] = [fixed.first(), fixed.get(1)].map(|byte| byte.copied().unwrap_or(0));
    let source = fixed.get(8..24).ok_or(Broken)?;
    let address = match family {
        2 => Ipv4Addr::from(bytes::<4>(source, 0).ok_or(Broken)?).into(),
        10 => Ipv6Addr::from(bytes::<16>(source, 0).ok_or(Broken)?).into(),
        _ => return Err(Broken),
    };
    if state != LISTEN {
        return Ok(None);
    }
    let number = |at| u32_at(fixed, at).ok_or(Broken);
    let port = u16::from_be_bytes(bytes(fixed, 4).ok_or(Broken)?);
    let socket = ListeningSocket {
        address: SocketAddr::new(address, port),
        inode: number(68)?.into(),
        queue: number(56)?,
        limit: number(60)?,
        drops: drops(body.get(MESSAGE..).unwrap_or_default()).map(u64::from),
    };
    Ok(Some(Diagnosed { socket, owner: number(64)? }))
}

/// From the attributes, `struct rtattr`: what is strange ends them.
fn drops(mut attributes: &[u8]) -> Option<u32> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let kind = u16_at(attributes, 2)?;
        let value = attributes.get(4..length)?;
        if kind == SOCKET_MEMORY {
            return u32_at(value, DROPS * 4);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn bytes<const COUNT: usize>(of: &[u8], at: usize) -> Option<[u8; COUNT]> {
    of.get(at..)?.first_chunk().copied()
}

fn u32_at(of: &[u8], at: usize) -> Option<u32> {
    bytes(of, at).map(u32::from_ne_bytes)
}

fn u16_at(of: &[u8], at: usize) -> Option<u16> {
    bytes(of, at).map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, serial: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + HEADER).unwrap();
        let kind = [kind.to_ne_bytes(), 2u16.to_ne_bytes()].concat();
        [&length.to_ne_bytes()[..], &kind, &serial.to_ne_bytes(), &[0; 4], body].concat()
    }

    fn socket(family: u8, state: u8, source: &[u8]) -> Vec<u8> {
        let mut source = source.to_vec();
        source.resize(16, 0);
        let numbers = [0u32, 3, 511, 33, 4711].map(u32::to_ne_bytes).concat();
        let ports = [0x1f, 0x90, 0, 0];
        let ids = [&ports[..], &source, &[0; 16], &[0; 12]].concat();
        [&[family, state, 0, 0], &ids[..], &numbers].concat()
    }

    fn memory(count: u32) -> Vec<u8> {
        attribute(SOCKET_MEMORY, &(0..count).flat_map(u32::to_ne_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let bytes = request(Family::V6, 7);
        assert_eq!(u32_at(&bytes, 0), Some(72));
        assert_eq!((u16_at(&bytes, 4), u16_at(&bytes, 6)), (Some(20), Some(0x301)));
        assert_eq!(u32_at(&bytes, 8), Some(7));
        assert_eq!(bytes[16..20], [10, 6, 64, 0]);
        assert_eq!(u32_at(&bytes, 20), Some(1 << 10));
        assert!(bytes[24..].iter().all(|byte| *byte == 0), "any address");
    }

    #[test]
    fn listening_sockets_are_read_with_their_drops_where_the_kernel_tells_them() {
        let (v4, v6) = (socket(2, 10, &[127, 0, 0, 1]), socket(10, 10, &[0; 16]));
        let bytes = [
            message(BY_FAMILY, 9, &[v4, attribute(8, &[0]), memory(9)].concat()),
            message(BY_FAMILY, 9, &[v6, memory(8)].concat()),
            message(BY_FAMILY, 9, &socket(2, 1, &[1, 2, 3, 4])),
            message(BY_FAMILY, 8, b"of another answer"),
        ];
        let mut found = Vec::new();
        assert_eq!(answer(&bytes.concat(), 9, &mut found), Ok(None));
        let seen: Vec<_> =
            found.iter().map(|it| (it.socket.address.to_string(), it.socket.drops)).collect();
        let expected = [("127.0.0.1:8080", Some(8)), ("[::]:8080", None)];
        assert_eq!(seen, expected.map(|(address, drops)| (address.to_owned(), drops)));
        let first = found[0];
        assert_eq!((first.socket.inode, first.owner), (4711, 33));
        assert_eq!((first.socket.queue, first.socket.limit), (3, 511));
    }

    #[test]
    fn an_answer_ends_well_or_with_the_kernels_reason() {
        let end = |kind, body: &[u8]| answer(&message(kind, 1, body), 1, &mut Vec::new());
        assert_eq!(end(DONE, &0u32.to_ne_bytes()), Ok(Some(End::Done)));
        assert_eq!(end(DONE, b""), Ok(Some(End::Done)));
        assert_eq!(end(ERROR, &(-2i32).to_ne_bytes()), Ok(Some(End::Refused(2))));
        assert_eq!(end(ERROR, &i32::MIN.to_ne_bytes()), Ok(Some(End::Refused(i32::MAX))));
        assert_eq!(end(ERROR, b""), Err(Broken));
    }

    #[test]
    fn lengths_that_lie_are_broken_and_do_not_loop() {
        let whole = message(BY_FAMILY, 1, &[socket(2, 10, &[1; 4]), memory(9)].concat());
        for end in 1..whole.len() {
            let _ = answer(&whole[..end], 1, &mut Vec::new());
        }
        for length in [0u32, 1, 15, 17, u32::MAX] {
            let bytes = [&length.to_ne_bytes()[..], &whole[4..]].concat();
            assert_eq!(answer(&bytes, 1, &mut Vec::new()), Err(Broken), "{length}");
        }
        assert_eq!(drops(&[0, 0, 7, 0]), None);
        assert_eq!(answer(&message(BY_FAMILY, 1, &[7; 72]), 1, &mut Vec::new()), Err(Broken));
    }

    #[test]
    fn a_request_of_one_port_names_it_and_the_states() {
        let bytes = request_at(Family::V4, 7, 443, CONNECTED);
        assert_eq!(bytes[..20], request(Family::V4, 7)[..20]);
        assert_eq!(u32_at(&bytes, 20), Some(0b1_0011_1010));
        assert_eq!(bytes[24..26], [1, 187]);
        assert!(bytes[26..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn connections_are_counted_while_somebody_may_be_busy_with_them() {
        let orphan = |state: u8| {
            let mut body = socket(2, state, &[127, 0, 0, 1]);
            body[MESSAGE - 4..].fill(0);
            body
        };
        let count = |bodies: &[Vec<u8>]| {
            let messages: Vec<Vec<u8>> =
                bodies.iter().map(|body| message(BY_FAMILY, 9, body)).collect();
            let mut count = 0;
            connections(&messages.concat(), 9, &mut count).map(|_| count)
        };
        let open: Vec<_> = (0..=12).map(|state| socket(2, state, &[127, 0, 0, 1])).collect();
        assert_eq!(count(&open), Ok(5));
        let orphans: Vec<_> = (0..=12).map(orphan).collect();
        assert_eq!(count(&orphans), Ok(3), "established, not yet accepted, and half closed");
        assert_eq!(count(&[vec![2, 1, 0, 0]]), Err(Broken));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, serial: u32) {
            let _ = answer(&bytes, serial, &mut Vec::new());
            let _ = connections(&bytes, serial, &mut 0);
        }
    }
}
