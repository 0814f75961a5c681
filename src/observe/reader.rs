//! The reading process: keeps the privilege to read other processes' memory, has no network, and
//! hands over plain numbers.
//!
//! A request is a process's identity, an answer its decoded scoreboard or a closed reason. The
//! other side names no path and no address, so the most that it can ask for is this.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use procfs::process::{MMPermissions, MemoryMap};
use serde::{Deserialize, Serialize};

use super::process_table::{ProcessTable, proc_why, why};
use crate::{
    decode::scoreboard::{Family, FamilyMember, could_be, decode, layout::Layout},
    model::{
        process::{Pid, ProcessId, ProcessState},
        scoreboard::Scoreboard,
        source::Why,
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

/// What is asked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Returned in the answer, so that a late one is known as such.
    pub serial: u64,
    /// Whose scoreboard.
    pub parent: ProcessId,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The request's.
    pub serial: u64,
    /// The scoreboard, or why there is none.
    pub scoreboard: Result<Scoreboard, Why>,
}

/// Where a parent's scoreboard was found.
struct Place {
    segment: Segment,
    bytes: usize,
}

enum Segment {
    Memory {
        memory: File,
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
}

/// Answers requests until the other side is gone.
pub fn serve(table: &ProcessTable, mut stream: impl Read + Write) -> io::Result<()> {
    let mut parents = BTreeMap::new();
    while let Some(request) = receive::<Request>(&mut stream)? {
        if parents.len() >= MOST_PARENTS {
            parents.clear();
        }
        let known = parents.entry(request.parent).or_default();
        let scoreboard = read(table, request.parent, known);
        send(&mut stream, &Answer { serial: request.serial, scoreboard })?;
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

/// Reads a message; `None` if the other side is gone.
pub fn receive<T: for<'a> Deserialize<'a>>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > LONGEST_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is too long"));
    }
    let mut body = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut body)?;
    postcard::from_bytes(&body).map(Some).map_err(io::Error::other)
}

fn read(table: &ProcessTable, parent: ProcessId, known: &mut Known) -> Result<Scoreboard, Why> {
    if table.row(parent.pid)?.id != parent {
        return Err(Why::Missing);
    }
    let members = family(table, parent.pid)?;
    let family = Family { httpd_children: &members };
    if let Some(place) = &known.place
        && let Ok(bytes) = place.read()
        && let Ok(reading) = decode(&bytes, &family, known.layout)
    {
        known.layout = reading.layout.or(known.layout);
        return Ok(reading.scoreboard);
    }
    // Not seen yet, or made anew by a hard restart.
    let (place, scoreboard, layout) = find(table, parent.pid, &family, known.layout)?;
    *known = Known { place: Some(place), layout: layout.or(known.layout) };
    Ok(scoreboard)
}

fn family(table: &ProcessTable, parent: Pid) -> Result<Vec<FamilyMember>, Why> {
    let own = table.row(parent)?.name;
    let rows = table.children(parent)?.into_iter().filter_map(|pid| table.row(pid).ok());
    Ok(rows
        .map(|row| FamilyMember {
            pid: row.id.pid,
            alive: row.state != ProcessState::Ended,
            may_be_worker: row.name == own,
        })
        .collect())
}

type Found = (Place, Scoreboard, Option<Layout>);

fn find(
    table: &ProcessTable,
    parent: Pid,
    family: &Family<'_>,
    layout: Option<Layout>,
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
        match decode(&bytes, family, layout) {
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
        let memory = File::open(table.path(parent, "mem")).map_err(|error| why(&error))?;
        let mut head = [0; HEAD];
        memory.read_exact_at(&mut head, address).map_err(|error| why(&error))?;
        let mapped = end.saturating_sub(address);
        if could_be(&head, mapped) {
            let bytes = usize::try_from(mapped).map_err(|_| Why::Limit)?;
            places.push(Place { segment: Segment::Memory { memory, address }, bytes });
        }
    }
    Ok(places)
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

impl Place {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes];
        match &self.segment {
            Segment::Memory { memory, address } => memory.read_exact_at(&mut bytes, *address)?,
            Segment::Shared(file) => file.read_exact_at(&mut bytes, 0)?,
        }
        Ok(bytes)
    }
}
