//! What the two processes say to each other about error logs.
//!
//! The socket keeps messages apart, so that an open file arrives with the very message that it
//! was sent with, and half a message never does.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
        sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize};

use super::place::FileId;
use crate::model::{log::LogReport, process::ProcessId, source::Why};

/// A report with every level, every code and as many claims and sayings as one may have takes
/// 14 KiB.
const LONGEST: usize = 32 << 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Returned in the answer, so that a late one is known as such.
    pub serial: u64,
    /// Whose log, by the watching process's number.
    pub server: u32,
    /// Where that is.
    pub subject: Subject,
}

/// Which file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// What this parent's standard error is.
    Parent(ProcessId),
    /// The open file that comes with the request.
    File,
    /// The same as before.
    SameFile,
    /// None: what is known of this server is forgotten, and nothing is answered.
    Nothing,
}

/// What is said back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// To a request.
    Answer(Answer),
    /// Unasked, at most once until the next request about this server: there is news.
    Bell {
        /// Whose log.
        server: u32,
    },
}

/// What came since the last answer about the same server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    pub serial: u64,
    /// The request's.
    pub server: u32,
    /// What came, or why nothing can.
    pub report: Result<LogReport, Why>,
    /// The file that is followed now.
    pub file: Option<FileId>,
}

/// What came over the socket.
#[derive(Debug)]
pub enum Received<T> {
    /// A message, and the file that came with it.
    Message(T, Option<File>),
    /// Nothing within the time that the socket waits.
    Nothing,
    /// The other side is gone.
    End,
}

/// A socket for each side.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message, with an open file if there is one.
pub fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if body.len() > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is too long"));
    }
    let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("no space for a descriptor"));
    }
    // Without the flag a message to a process that has ended is the end of this one.
    loop {
        let slices = [IoSlice::new(&body)];
        match sendmsg(&socket, &slices, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Ok(sent) if sent == body.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives a message; `InvalidData` if it is none.
pub fn receive<T: for<'a> Deserialize<'a>>(
    socket: impl AsFd,
    flags: RecvFlags,
) -> io::Result<Received<T>> {
    let mut body = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut body)], &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::End),
            result => break result?,
        }
    };
    let file = ancillary.drain().find_map(|message| {
        let RecvAncillaryMessage::ScmRights(mut files) = message else { return None };
        files.next().map(File::from)
    });
    if received.bytes == 0 {
        return Ok(Received::End);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is too long"));
    }
    let body = body.get(..received.bytes).unwrap_or_default();
    let message = postcard::from_bytes(body)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(Received::Message(message, file))
}
