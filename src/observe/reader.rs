//! The reading process: keeps the privilege to read other processes' memory, has no network, and
//! hands over plain numbers.
//!
//! A request is a process's identity, an answer its decoded scoreboard, the environment of one that
//! has a scoreboard, in which namespaces it lives, or a closed reason. The other side names no path and no address, so the most
//! that it can ask for is this: of requests the method and the path, never a query or a client.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, IoSliceMut, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use procfs::process::{MMPermissions, MemoryMap};
use serde::{Deserialize, Serialize};

use super::{
    asked::Identity,
    environment,
    process_table::{ProcessTable, Row, proc_why, why},
};
use crate::{
    clock,
    decode::scoreboard::{Family, FamilyMember, Reading, could_be, decode, layout::Layout},
    model::{
        process::{Pid, ProcessId, ProcessState},
        scoreboard::{Scoreboard, ShowRequests},
        source::Why,
        time::Moment,
    },
};

/// The longest message: a scoreboard of 20 000 slots takes less.
pub const LONGEST_MESSAGE: u32 = 32 << 20;
/// A scoreboard of 20 000 prefork children takes 8 MiB.
const LARGEST_SEGMENT: u64 = 64 << 20;
/// Parents whose mapping is remembered.
const MOST_PARENTS: usize = 32;
/// Enough of a mapping to see whether it could be a scoreboard.
const HEAD: usize = 64;
/// A child this young may still become another program: a piped logger is forked before it is
/// started.
const MAY_BECOME_ANOTHER: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Returned in the answer, so that a late one is known as such.
    pub serial: u64,
    /// Of whom.
    pub parent: ProcessId,
    /// What of it.
    pub wanted: Wanted,
}

/// What of a parent is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// Its scoreboard, as it is now, with this of what old children are asked for.
    Scoreboard(ShowRequests),
    /// The environment that it was started with.
    Environment,
    /// Its namespaces, root directory and program.
    Identity,
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
}

/// Where a parent's scoreboard was found.
struct Place {
    segment: Segment,
    bytes: usize,
}

enum Segment {
    Memory {
        parent: Pid,
        address: u64,
    },
    /// The file behind a `ScoreBoardFile`, for whom the parent's memory is closed.
    Shared(File),
}

/// What is remembered of a parent.
#[derive(Default)]
struct Known {
    place: Option<Place>,
    layout: Option<Layout>,
    /// Its layout is proven and its MPM is prefork, whose workers name no child: nothing asks
    /// whether one of its children, of which there may be thousands, lives. So not each of them is
    /// read at each look, unless what they are remembered as contradicts the scoreboard.
    has_one_worker_a_slot: bool,
    members: BTreeMap<Pid, Member>,
}

/// A child as it was last read.
#[derive(Clone, Copy)]
struct Member {
    read: FamilyMember,
    /// When it will have become whatever it becomes.
    grown: Moment,
}

/// Answers requests until the other side is gone.
pub fn serve(table: &ProcessTable, mut stream: impl Read + Write) -> io::Result<()> {
    let mut parents = BTreeMap::new();
    let mut come = Vec::new();
    while let Some(request) = receive::<Request>(&mut stream, &mut come)? {
        if parents.len() >= MOST_PARENTS {
            parents.clear();
        }
        let known = parents.entry(request.parent).or_default();
        let given = match request.wanted {
            Wanted::Scoreboard(show) => Given::Scoreboard(read(table, request.parent, known, show)),
            Wanted::Environment => Given::Environment(environment(table, request.parent, known)),
            Wanted::Identity => Given::Identity(Identity::of(table, request.parent)),
        };
        send(&mut stream, &Answer { serial: request.serial, given })?;
    }
    Ok(())
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
    if known.place.is_none() {
        read(table, parent, known, ShowRequests::Off)?;
    }
    let in_memory =
        known.place.as_ref().is_some_and(|it| matches!(it.segment, Segment::Memory { .. }));
    if !in_memory {
        return Err(Why::Permission);
    }
    environment::of(table, parent)
}

fn read(
    table: &ProcessTable,
    parent: ProcessId,
    known: &mut Known,
    show: ShowRequests,
) -> Result<Scoreboard, Why> {
    let row = table.row(parent.pid)?;
    if row.id != parent {
        return Err(Why::Missing);
    }
    let at = clock::now();
    if known.has_one_worker_a_slot {
        let members = family(table, &row, &mut known.members, at)?;
        let reading = known.decode(&members, show).filter(|reading| reading.layout == known.layout);
        if let Some(reading) = reading {
            return Ok(reading.scoreboard);
        }
    }
    known.members.clear();
    let members = family(table, &row, &mut known.members, at)?;
    if let Some(reading) = known.decode(&members, show) {
        known.layout = reading.layout.or(known.layout);
        known.has_one_worker_a_slot =
            known.layout.is_some() && reading.scoreboard.global.thread_limit == 1;
        return Ok(reading.scoreboard);
    }
    // Not seen yet, or made anew by a hard restart.
    let family = Family { httpd_children: &members };
    let (place, scoreboard, layout) = find(table, parent.pid, &family, known.layout, show)?;
    known.place = Some(place);
    known.layout = layout.or(known.layout);
    Ok(scoreboard)
}

/// The parent's children now; of those that are known, only the young are read again.
fn family(
    table: &ProcessTable,
    parent: &Row,
    known: &mut BTreeMap<Pid, Member>,
    at: Moment,
) -> Result<Vec<FamilyMember>, Why> {
    let mut members = BTreeMap::new();
    for pid in table.children(parent.id.pid)? {
        let kept = known.get(&pid).filter(|member| member.is_settled(at)).copied();
        if let Some(member) = kept.or_else(|| member(table, parent, pid, at)) {
            members.insert(pid, member);
        }
    }
    *known = members;
    Ok(known.values().map(|member| member.read).collect())
}

fn member(table: &ProcessTable, parent: &Row, pid: Pid, at: Moment) -> Option<Member> {
    let row = table.row(pid).ok()?;
    let read = FamilyMember {
        pid,
        alive: row.state != ProcessState::Ended,
        may_be_worker: row.name == parent.name,
    };
    Some(Member { read, grown: at.at_uptime(row.id.started).after(MAY_BECOME_ANOTHER) })
}

type Found = (Place, Scoreboard, Option<Layout>);

fn find(
    table: &ProcessTable,
    parent: Pid,
    family: &Family<'_>,
    layout: Option<Layout>,
    show: ShowRequests,
) -> Result<Found, Why> {
    let (places, closed) = match in_memory(table, parent) {
        Ok(places) => (places, false),
        // The file of a `ScoreBoardFile` may be open where the parent's memory is closed.
        Err(Why::Permission) => (in_files(Path::new("/dev/shm")).unwrap_or_default(), true),
        Err(why) => return Err(why),
    };
    let mut silence = if closed { Why::Permission } else { Why::Missing };
    let mut unproven = None;
    for place in places {
        let Ok(bytes) = place.read() else { continue };
        match decode(&bytes, family, layout, show) {
            // A file is this parent's only if its slots are.
            Ok(reading) if reading.layout.is_some() => {
                return Ok((place, reading.scoreboard, reading.layout));
            }
            Ok(reading) if !closed => unproven = Some((place, reading.scoreboard, None)),
            Err(_) if !closed => silence = Why::Invalid,
            Ok(_) | Err(_) => {}
        }
    }
    unproven.ok_or(silence)
}

/// The parent's shared mappings that could be scoreboards.
fn in_memory(table: &ProcessTable, parent: Pid) -> Result<Vec<Place>, Why> {
    let maps = table.process(parent)?.maps().map_err(|error| proc_why(&error))?;
    let mut places = Vec::new();
    for map in maps.iter().filter(|map| is_shared_segment(map)) {
        let (address, end) = map.address;
        let mut head = [0; HEAD];
        read_memory(parent, address, &mut head).map_err(|error| why(&error))?;
        let mapped = end.saturating_sub(address);
        if could_be(&head, mapped) {
            let bytes = usize::try_from(mapped).map_err(|_| Why::Limit)?;
            places.push(Place { segment: Segment::Memory { parent, address }, bytes });
        }
    }
    Ok(places)
}

/// Reads another process's memory, whole or not at all: a mapping that a hard restart took away
/// meanwhile is an error.
fn read_memory(process: Pid, address: u64, bytes: &mut [u8]) -> io::Result<()> {
    let base = usize::try_from(address).map_err(io::Error::other)?;
    let length = bytes.len();
    let process = nix::unistd::Pid::from_raw(process.as_raw());
    let remote = [RemoteIoVec { base, len: length }];
    let read = process_vm_readv(process, &mut [IoSliceMut::new(bytes)], &remote)?;
    if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// `rw-s`, of a size worth reading: of memory, or of the file of a `ScoreBoardFile`.
fn is_shared_segment(map: &MemoryMap) -> bool {
    let shared = MMPermissions::READ | MMPermissions::WRITE | MMPermissions::SHARED;
    let (start, end) = map.address;
    map.perms.contains(shared) && end.saturating_sub(start) <= LARGEST_SEGMENT
}

fn in_files(directory: &Path) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let apr = entry.file_name().to_string_lossy().starts_with("ShM.");
        let metadata = entry.metadata()?;
        if !apr || !metadata.is_file() || metadata.len() > LARGEST_SEGMENT {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else {
            continue;
        };
        let mut head = [0; HEAD];
        if file.read_exact_at(&mut head, 0).is_ok() && could_be(&head, metadata.len()) {
            let bytes = usize::try_from(metadata.len()).unwrap_or(0);
            places.push(Place { segment: Segment::Shared(file), bytes });
        }
    }
    Ok(places)
}

impl Known {
    fn decode(&self, members: &[FamilyMember], show: ShowRequests) -> Option<Reading> {
        let bytes = self.place.as_ref()?.read().ok()?;
        decode(&bytes, &Family { httpd_children: members }, self.layout, show).ok()
    }
}

impl Member {
    fn is_settled(&self, at: Moment) -> bool {
        self.read.alive && self.grown <= at
    }
}

impl Place {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes];
        match &self.segment {
            Segment::Memory { parent, address } => read_memory(*parent, *address, &mut bytes)?,
            Segment::Shared(file) => file.read_exact_at(&mut bytes, 0)?,
        }
        Ok(bytes)
    }
}
