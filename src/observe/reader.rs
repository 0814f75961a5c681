//! The reading process: keeps the privilege to read other processes' memory, has no network, and
//! hands over plain numbers.
//!
//! A request is a process's identity, an answer its decoded scoreboard, the environment of one that
//! has a scoreboard, in which namespaces it lives, how much memory it and its children use, the
//! numbers of its sockets, how much shared memory it has, the names of the programs that it runs and of
//! the logs that it and its children write, or a closed reason. The other side names no path and no
//! address, but any process: nothing here knows which of them are httpd's. So the most that it can
//! ask for is this: of requests the method and the path, never a query or a client; of every process
//! its namespaces, programs, socket numbers, sums of memory, and the names of files that it appends
//! to.
//!
//! Others wait while one is answered, so none may take long, whatever its process did.

mod board;
mod mapped;
mod mappings;
mod memory;
mod open_logs;
mod shared_memory;
mod sockets;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};

pub use self::memory::Pace;
use self::{board::Known, mapped::Programs, memory::Walks, open_logs::Listings};
use super::{asked::Identity, environment, process_table::ProcessTable};
use crate::model::{
    files::{MappedFile, OpenLog},
    process::ProcessId,
    resources::{Rollup, SharedMemory},
    scoreboard::{Scoreboard, ShowRequests},
    source::Why,
    time::Timestamp,
};

/// The longest message: a scoreboard of 20 000 slots takes less.
pub const LONGEST_MESSAGE: u32 = 32 << 20;
/// Parents whose mapping is remembered: more than there may be servers.
const MOST_PARENTS: usize = 128;

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Returned in the answer, so that a late one is known as such.
    pub serial: u64,
    /// Of whom.
    pub parent: ProcessId,
    /// What of it.
    pub wanted: Wanted,
}

/// What of a parent is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// Its scoreboard, as it is now, with this of what old children are asked for.
    Scoreboard(ShowRequests),
    /// The environment that it was started with.
    Environment,
    /// Its namespaces, root directory and program.
    Identity,
    /// The memory of these of its processes, the most wanted first: as many are read as the budget allows.
    Memory(Vec<ProcessId>, Pace),
    /// The inodes of its sockets.
    Sockets,
    /// Its shared memory.
    SharedMemory,
    /// Whether it has the IPC namespace of the reading process.
    IpcNamespace,
    /// The programs and libraries that it runs; when it last loaded its modules.
    MappedFiles(Timestamp),
    /// The logs that these of its processes have open, the most wanted first: as many are read as
    /// the budget allows.
    OpenLogs(Vec<ProcessId>),
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    pub serial: u64,
    /// What was wanted, or why there is none.
    pub given: Given,
}

/// What is given to whom wanted it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Given {
    /// The scoreboard, or why there is none.
    Scoreboard(Result<Scoreboard, Why>),
    /// Assignments that end in NUL, or why there are none.
    Environment(Result<Vec<u8>, Why>),
    /// Where it lives, or why that cannot be told.
    Identity(Result<Identity, Why>),
    /// The memory of those that still live and may be read, or why of none.
    Memory(Result<Vec<(ProcessId, Rollup)>, Why>),
    /// The inodes, or why there are none.
    Sockets(Result<Vec<u64>, Why>),
    /// How much there is, or why that cannot be told.
    SharedMemory(Result<SharedMemory, Why>),
    /// It has, or why that cannot be told.
    IpcNamespace(Result<bool, Why>),
    /// The programs and libraries, or why they cannot be told.
    MappedFiles(Result<Vec<MappedFile>, Why>),
    /// The logs of those that still live and may be read, or why of none.
    OpenLogs(Result<Vec<(ProcessId, Vec<OpenLog>)>, Why>),
}

/// What is remembered from one request to the next.
#[derive(Default)]
struct Memory {
    parents: BTreeMap<ProcessId, Known>,
    walks: Walks,
    programs: Programs,
    listings: Listings,
}

/// Answers requests until the other side is gone.
pub fn serve(table: &ProcessTable, mut stream: impl Read + Write) -> io::Result<()> {
    let mut come = Vec::new();
    let mut memory = Memory::default();
    while let Some(request) = receive::<Request>(&mut stream, &mut come)? {
        let given = memory.give(table, request.parent, request.wanted);
        send(&mut stream, &Answer { serial: request.serial, given })?;
    }
    Ok(())
}

impl Memory {
    fn give(&mut self, table: &ProcessTable, parent: ProcessId, wanted: Wanted) -> Given {
        if self.parents.len() >= MOST_PARENTS && !self.parents.contains_key(&parent) {
            self.parents.clear();
        }
        let known = self.parents.entry(parent).or_default();
        match wanted {
            Wanted::Scoreboard(show) => Given::Scoreboard(board::read(table, parent, known, show)),
            Wanted::Environment => Given::Environment(environment(table, parent, known)),
            Wanted::Identity => Given::Identity(Identity::of(table, parent)),
            Wanted::Memory(processes, pace) => {
                Given::Memory(self.walks.read(table, parent, &processes, pace))
            }
            Wanted::SharedMemory => {
                let scoreboard = known.address();
                let read = || shared_memory::read(table, parent, scoreboard);
                Given::SharedMemory(known.shares.unless_tired(read))
            }
            Wanted::IpcNamespace => Given::IpcNamespace(shared_memory::has_own_ipc(table, parent)),
            Wanted::Sockets => Given::Sockets(sockets::inodes(table, parent)),
            Wanted::MappedFiles(loaded) => {
                Given::MappedFiles(self.programs.read(table, parent, loaded))
            }
            Wanted::OpenLogs(processes) => {
                Given::OpenLogs(self.listings.read(table, parent, &processes))
            }
        }
    }
}

/// Writes a message: its length, then itself.
pub fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    stream.write_all(&frame)
}

/// Takes the first message of what has come; `None` if it is not whole.
pub fn take_frame<T: for<'a> Deserialize<'a>>(bytes: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    if length > LONGEST_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is too long"));
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let message = postcard::from_bytes(body).map_err(io::Error::other)?;
    bytes.drain(..size_of::<u32>() + length);
    Ok(Some(message))
}

/// Waits for a message; `None` if the other side is gone.
fn receive<T: for<'a> Deserialize<'a>>(
    stream: &mut impl Read,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<T>> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(message) = take_frame(bytes)? {
            return Ok(Some(message));
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(None);
        }
        bytes.extend(chunk.iter().take(read));
    }
}

/// An environment may hold secrets, and the other side can be reached from the network: only a
/// process in whose own memory a scoreboard was found hands it over, which no other program has.
fn environment(table: &ProcessTable, parent: ProcessId, known: &mut Known) -> Result<Vec<u8>, Why> {
    if !known.is_found() {
        board::read(table, parent, known, ShowRequests::Off)?;
    }
    if !known.is_in_memory() {
        return Err(Why::Permission);
    }
    environment::of(table, parent)
}
