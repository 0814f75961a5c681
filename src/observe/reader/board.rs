//! Where a parent's scoreboard is, and what it says.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use procfs::process::{MMPermissions, MemoryMap};

use super::{
    super::process_table::{ProcessTable, Row, why},
    mappings::{self, Rest},
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

/// A scoreboard of 20 000 prefork children takes 8 MiB.
const LARGEST_SEGMENT: u64 = 64 << 20;
/// What is looked through for a scoreboard: httpd has few mappings that could be one.
const MOST_SEARCHED: usize = 128 << 20;
/// Enough of a mapping to see whether it could be a scoreboard.
const HEAD: usize = 64;
/// A child this young may still become another program: a piped logger is forked before it is
/// started.
const MAY_BECOME_ANOTHER: Duration = Duration::from_secs(1);

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
pub(super) struct Known {
    place: Option<Place>,
    layout: Option<Layout>,
    /// Its layout is proven and its MPM is prefork, whose workers name no child: nothing asks
    /// whether one of its children, of which there may be thousands, lives. So not each of them is
    /// read at each look, unless what they are remembered as contradicts the scoreboard.
    has_one_worker_a_slot: bool,
    members: BTreeMap<Pid, Member>,
    search: Rest,
    /// Of its shared memory.
    pub(super) shares: Rest,
}

/// A child as it was last read.
#[derive(Clone, Copy)]
struct Member {
    read: FamilyMember,
    /// When it will have become whatever it becomes.
    grown: Moment,
}

/// A parent's scoreboard as it is now.
pub(super) fn read(
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
    let layout = known.layout;
    let search = || find(table, parent.pid, &family, layout, show);
    let (place, scoreboard, layout) = known.search.unless_tired(search)?;
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
    let mut searched = 0_usize;
    for place in places {
        searched = searched.saturating_add(place.bytes);
        if searched > MOST_SEARCHED {
            silence = Why::Limit;
            break;
        }
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
    let maps = mappings::of(table, parent)?;
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
    /// A scoreboard was found in the parent's own memory.
    pub(super) fn is_in_memory(&self) -> bool {
        self.place.as_ref().is_some_and(|it| matches!(it.segment, Segment::Memory { .. }))
    }

    /// Where in the parent's memory its scoreboard is, if it was found there.
    pub(super) fn address(&self) -> Option<u64> {
        match self.place.as_ref()?.segment {
            Segment::Memory { address, .. } => Some(address),
            Segment::Shared(_) => None,
        }
    }

    /// Where its scoreboard is was found.
    pub(super) const fn is_found(&self) -> bool {
        self.place.is_some()
    }

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
