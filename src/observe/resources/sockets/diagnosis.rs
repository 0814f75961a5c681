//! Every listening TCP socket of this network namespace, as the kernel tells anybody.
//!
//! `/proc/net/tcp` would tell the queue, but neither its limit nor drops, and lists every
//! connection too.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
        socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::namespace;
use crate::{
    clock,
    decode::socket_diagnosis::{Broken, Diagnosed, End, Family, answer, request},
    model::{resources::NetnsDrops, source::Why, time::Moment},
    observe::{
        process_table::why,
        resources::paced::{FAST_PACE, PACE},
    },
};

/// To ask takes 50 us where few sockets listen. On a host with many it rests so many times as long
/// as it took: half a percent.
const REST: u32 = 200;
/// So many are kept of whomever, some 10 ms of reading. Beyond them anybody can make more, and hides
/// nobody's: those that a server may have are kept, as many again.
const MOST: usize = 16_384;
/// So much work is one answer worth, of some 300 000 sockets.
const DEAREST: Duration = Duration::from_millis(250);
/// So many inodes are remembered as wanted; those of servers that are gone are among them.
const MOST_WANTED: usize = 1 << 17;
/// The kernel answers at once; a look must not wait.
const PATIENCE: Duration = Duration::from_millis(250);
/// More than the kernel puts into one datagram.
const DATAGRAM: usize = 64 << 10;

/// Asks the kernel, for all servers together.
#[derive(Debug)]
pub(in crate::observe) struct Diagnosis {
    netlink: Option<OwnedFd>,
    serial: u32,
    last: Option<Reading>,
    edition: u64,
    wanted: Wanted,
    /// Something is wanted that was not when the last answer was read.
    wants_more: bool,
}

#[derive(Debug)]
struct Reading {
    due: Moment,
    due_fast: Moment,
    found: Result<Found, Why>,
    /// Read after the sockets: it has all that they dropped.
    netns: Option<NetnsDrops>,
}

/// Sockets of an answer.
#[derive(Debug, Default)]
struct Found {
    kept: Vec<Diagnosed>,
    /// There were too many, and those that nobody wanted are missing.
    is_partial: bool,
    /// Of all, those that were not kept too.
    digest: DefaultHasher,
}

/// Sockets that are kept however many others there are.
#[derive(Debug, Default)]
struct Wanted {
    inodes: BTreeSet<u64>,
    /// A port, and the user who made the socket: not those that anybody makes at the same port.
    ports: BTreeSet<(u16, u32)>,
}

impl Diagnosis {
    /// Nobody was asked yet.
    pub(in crate::observe) const fn new() -> Self {
        let wanted = Wanted { inodes: BTreeSet::new(), ports: BTreeSet::new() };
        Self { netlink: None, serial: 0, last: None, edition: 0, wanted, wants_more: false }
    }

    /// Asks, if the last answer is older than about a second, or than this moment if there is
    /// `haste`. Returns another number once there are other sockets than before.
    pub(super) fn refresh(&mut self, at: Moment, haste: bool, procfs: &Path) -> u64 {
        let due =
            self.last.as_ref().is_none_or(|it| at >= if haste { it.due_fast } else { it.due });
        if due {
            self.keep(at, procfs);
        }
        self.edition
    }

    /// Whether sockets are missing that nobody wanted.
    pub(super) fn is_partial(&self) -> bool {
        self.last.as_ref().is_some_and(|it| it.found.as_ref().is_ok_and(|it| it.is_partial))
    }

    /// These are to be kept.
    pub(super) fn want(
        &mut self,
        inodes: impl Iterator<Item = u64>,
        ports: impl Iterator<Item = (u16, u32)>,
    ) {
        if self.wanted.inodes.len() + self.wanted.ports.len() > MOST_WANTED {
            self.wanted = Wanted::default();
        }
        let before = (self.wanted.inodes.len(), self.wanted.ports.len());
        self.wanted.inodes.extend(inodes);
        self.wanted.ports.extend(ports);
        self.wants_more |= before != (self.wanted.inodes.len(), self.wanted.ports.len());
    }

    /// The sockets that were kept, all that were wanted among them, or why they are not known.
    pub(super) fn sockets(&mut self, at: Moment, procfs: &Path) -> Result<&[Diagnosed], Why> {
        if self.wants_more && self.is_partial() {
            self.keep(at, procfs);
        }
        match self.last.as_ref().map(|last| &last.found) {
            Some(Ok(found)) => Ok(found.kept.as_slice()),
            Some(Err(why)) => Err(*why),
            None => Err(Why::Other),
        }
    }

    /// What had been dropped at any listener when the sockets were read.
    pub(in crate::observe::resources) fn netns(&self) -> Option<NetnsDrops> {
        self.last.as_ref()?.netns
    }

    fn keep(&mut self, at: Moment, procfs: &Path) {
        let before = clock::work_of_this_thread();
        let found = self.read(before);
        self.wants_more = false;
        let netns = namespace::dropped(procfs).ok();
        let rest = clock::work_of_this_thread().saturating_sub(before) * REST;
        let (due, due_fast) = (at.after(rest.max(PACE)), at.after(rest.max(FAST_PACE)));
        let digest = |found: &Result<Found, Why>| found.as_ref().ok().map(|it| it.digest.finish());
        let last = self.last.as_ref().and_then(|last| digest(&last.found));
        if last.is_none() || last != digest(&found) {
            self.edition += 1;
        }
        self.last = Some(Reading { due, due_fast, found, netns });
    }

    /// Reads an answer that began when this thread had worked so long.
    fn read(&mut self, began: Duration) -> Result<Found, Why> {
        // One that fails is not used again: what it may still say is of no answer.
        let netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => open().map_err(reason)?,
        };
        let mut found = Found::default();
        let mut datagram = vec![0; DATAGRAM];
        for family in [Family::V4, Family::V6] {
            self.serial = self.serial.wrapping_add(1);
            send(&netlink, &request(family, self.serial), SendFlags::empty()).map_err(reason)?;
            let mut answers = Answers { netlink: &netlink, serial: self.serial, began };
            match answers.read(&mut datagram, &mut found, &self.wanted)? {
                End::Done => {}
                // A kernel that was built or started without it.
                End::Refused(_) if family == Family::V6 => {}
                End::Refused(errno) => return Err(reason(Errno::from_raw_os_error(errno))),
            }
        }
        self.netlink = Some(netlink);
        Ok(found)
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
    let netlink = socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE))?;
    Ok(netlink)
}

/// The answer to one request.
#[derive(Debug)]
struct Answers<'a> {
    netlink: &'a OwnedFd,
    serial: u32,
    began: Duration,
}

impl Answers<'_> {
    fn read(
        &mut self,
        datagram: &mut [u8],
        found: &mut Found,
        wanted: &Wanted,
    ) -> Result<End, Why> {
        let mut told = Vec::new();
        while clock::work_of_this_thread().saturating_sub(self.began) < DEAREST {
            let (read, length) = match recv(self.netlink, &mut *datagram, RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                received => received.map_err(reason)?,
            };
            let bytes = datagram.get(..read).filter(|_| length == read && read > 0);
            let end = answer(bytes.ok_or(Why::Invalid)?, self.serial, &mut told);
            found.add(&mut told, wanted, MOST)?;
            if let Some(end) = end.map_err(|Broken| Why::Invalid)? {
                return Ok(end);
            }
        }
        Err(Why::Limit)
    }
}

impl Found {
    /// Keeps so many, beyond them what is wanted, up to twice as many.
    fn add(&mut self, told: &mut Vec<Diagnosed>, wanted: &Wanted, most: usize) -> Result<(), Why> {
        for it in told.drain(..) {
            (it.socket.inode, it.socket.address).hash(&mut self.digest);
            if self.kept.len() < most || wanted.has(&it) {
                self.kept.push(it);
            } else {
                self.is_partial = true;
            }
        }
        if self.kept.len() > 2 * most { Err(Why::Limit) } else { Ok(()) }
    }
}

impl Wanted {
    fn has(&self, it: &Diagnosed) -> bool {
        self.inodes.contains(&it.socket.inode)
            || self.ports.contains(&(it.socket.address.port(), it.owner))
    }
}

fn reason(error: Errno) -> Why {
    match error {
        // A kernel, or a sandbox, that does not know the question.
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP => Why::Missing,
        error => why(&io::Error::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::model::resources::ListeningSocket;

    #[test]
    fn a_socket_that_listens_is_told_until_it_is_closed() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).ok());
        let procfs = Path::new("/proc");
        let mut diagnosis = Diagnosis::new();
        let at = clock::now();
        let first = diagnosis.refresh(at, false, procfs);
        let sockets = diagnosis.sockets(at, procfs).unwrap();
        for listener in listeners.iter().flatten() {
            let address = listener.local_addr().unwrap();
            let found = sockets.iter().find(|it| it.socket.address == address).unwrap();
            assert_eq!(found.owner, rustix::process::geteuid().as_raw());
            assert!((found.socket.queue, found.socket.drops.unwrap_or(0)) == (0, 0));
            assert!(found.socket.inode > 0 && found.socket.limit > 0);
        }
        assert!(diagnosis.netns().is_some());
        let address = listeners[0].as_ref().unwrap().local_addr().unwrap();
        drop(listeners);
        let mut has = |at, haste| {
            let edition = diagnosis.refresh(at, haste, procfs);
            let sockets = diagnosis.sockets(at, procfs).unwrap();
            (edition, sockets.iter().any(|it| it.socket.address == address))
        };
        assert_eq!(has(at.after(PACE / 2), false), (first, true), "not asked again so soon");
        let (later, is_there) = has(at.after(FAST_PACE * 5), true);
        assert!(later > first && !is_there);
    }

    #[test]
    fn a_crowd_of_sockets_hides_none_that_is_wanted() {
        let told = |from: u16, to: u16| -> Vec<Diagnosed> {
            let socket = |port: u16| Diagnosed {
                socket: ListeningSocket {
                    address: ([127, 0, 0, 1], port).into(),
                    inode: u64::from(port) + 1000,
                    queue: 0,
                    limit: 0,
                    drops: None,
                },
                owner: 33 + u32::from(port % 2),
            };
            (from..to).map(socket).collect()
        };
        let wanted =
            Wanted { inodes: [1005, 1008].into(), ports: [(9, 34), (10, 34), (3, 33)].into() };
        let ports = |found: &Found| -> Vec<u16> {
            found.kept.iter().map(|it| it.socket.address.port()).collect()
        };
        let mut found = Found::default();
        found.add(&mut told(0, 3), &wanted, 3).unwrap();
        assert!(!found.is_partial);
        let few = found.digest.finish();
        found.add(&mut told(3, 12), &wanted, 3).unwrap();
        assert_eq!(ports(&found), [0, 1, 2, 5, 8, 9], "not another user's of the same port");
        assert!(found.is_partial);
        let more = found.digest.finish();
        found.add(&mut told(20, 21), &wanted, 3).unwrap();
        assert!(few != more && more != found.digest.finish(), "of those that are not kept, too");
        let again = found.add(&mut told(8, 9), &wanted, 3);
        assert_eq!(again, Err(Why::Limit), "there is an end to what is kept");
    }

    #[test]
    fn what_is_wanted_anew_is_asked_for_where_some_were_not_kept() {
        let procfs = Path::new("/proc");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut diagnosis = Diagnosis::new();
        let at = clock::now();
        diagnosis.refresh(at, false, procfs);
        let inode = {
            let sockets = diagnosis.sockets(at, procfs).unwrap();
            sockets.iter().find(|it| it.socket.address == address).unwrap().socket.inode
        };
        let mut is_kept = |is_partial: bool, inode: u64| {
            let last = diagnosis.last.as_mut().unwrap();
            last.found = Ok(Found { is_partial, ..Found::default() });
            diagnosis.want([inode].into_iter(), [].into_iter());
            let sockets = diagnosis.sockets(at, procfs).unwrap();
            sockets.iter().any(|it| it.socket.address == address)
        };
        assert!(!is_kept(false, inode), "all others were kept");
        assert!(is_kept(true, 1));
        assert!(!is_kept(true, inode), "it was wanted before");
    }
}
