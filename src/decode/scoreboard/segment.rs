//! The bytes of a scoreboard as httpd's own structures, with no belief in what they say.
//!
//! Nothing here indexes: what is not there is `None`, and an iterator ends where the bytes do.

use super::layout::{APR_HEADER, Layout};

/// `MAX_SERVER_LIMIT` of prefork; the other MPMs allow fewer.
const MAX_SERVER_LIMIT: u32 = 200_000;
/// `MAX_THREAD_LIMIT` of event; worker allows fewer.
const MAX_THREAD_LIMIT: u32 = 100_000;

/// What every layout has at the same place: the size and the start of `global_score`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) size: u64,
    pub(super) server_limit: u32,
    pub(super) thread_limit: u32,
    pub(super) running_generation: i32,
    /// Microseconds since the epoch.
    pub(super) restart_time: i64,
}

/// `process_score`, as far as all releases have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessScore {
    pub(super) pid: i32,
    pub(super) generation: i32,
    pub(super) quiescing: u8,
    pub(super) not_accepting: u8,
    /// Never written: zero since the segment was made.
    pub(super) padding: u16,
    pub(super) connections: u32,
    pub(super) write_completion: u32,
    pub(super) lingering_close: u32,
    pub(super) keep_alive: u32,
    pub(super) suspended: u32,
}

/// `worker_score`, as far as it is asked; times in microseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkerScore<'a> {
    /// Zero under prefork, which leaves it to `process_score`.
    pub(super) pid: i32,
    pub(super) generation: i32,
    pub(super) status: u8,
    /// Of the last request's begin.
    pub(super) start_time: i64,
    /// Of the last request's end.
    pub(super) stop_time: i64,
    pub(super) last_used: i64,
    /// The last request's line, up to its first NUL.
    pub(super) request: &'a [u8],
}

/// A segment read with one layout.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    processes: &'a [u8],
    stride: usize,
    slots: usize,
    workers: &'a [u8],
    worker: usize,
    row: usize,
}

impl Header {
    /// The first bytes of a segment, read as a scoreboard's.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        Some(Self {
            size: u64::from_le_bytes(array_at(head, 0)?),
            server_limit: u32::from_le_bytes(array_at(head, 8)?),
            thread_limit: u32::from_le_bytes(array_at(head, 12)?),
            running_generation: i32::from_le_bytes(array_at(head, 16)?),
            restart_time: i64::from_le_bytes(array_at(head, 24)?),
        })
    }

    /// The layouts whose size is exactly the one that the first word says.
    pub(super) fn layouts(self) -> impl Iterator<Item = Layout> {
        let in_bounds = (1..=MAX_SERVER_LIMIT).contains(&self.server_limit)
            && (1..=MAX_THREAD_LIMIT).contains(&self.thread_limit);
        Layout::ALL.into_iter().filter(move |layout| {
            let size = layout.shape().segment_size(self.server_limit, self.thread_limit);
            in_bounds && size == Some(self.size)
        })
    }
}

impl<'a> View<'a> {
    /// A segment under a layout; `None` if it is shorter than that.
    pub(super) fn new(segment: &'a [u8], header: Header, layout: Layout) -> Option<Self> {
        let shape = layout.shape();
        let slots = u64::from(header.server_limit);
        let start = usize::try_from(APR_HEADER.checked_add(shape.global)?).ok()?;
        let room = usize::try_from(slots.checked_mul(shape.room)?).ok()?;
        let row = u64::from(header.thread_limit).checked_mul(shape.worker)?;
        let all_rows = usize::try_from(slots.checked_mul(row)?).ok()?;
        let (processes, behind) = segment.get(start..)?.split_at_checked(room)?;
        Some(Self {
            processes,
            stride: usize::try_from(shape.stride).ok()?,
            slots: usize::try_from(slots).ok()?,
            workers: behind.get(..all_rows)?,
            worker: usize::try_from(shape.worker).ok()?,
            row: usize::try_from(row).ok()?,
        })
    }

    /// Every `process_score`, used or not, by its slot's index.
    pub(super) fn processes(self) -> impl Iterator<Item = (u32, ProcessScore)> {
        let slots = self.processes.chunks_exact(self.stride).take(self.slots);
        (0..).zip(slots.filter_map(ProcessScore::read))
    }

    /// Every word that is reserved for `process_score`s, whatever the layout makes of it.
    pub(super) fn process_words(self) -> impl Iterator<Item = i32> {
        let (words, _) = self.processes.as_chunks();
        words.iter().map(|word| i32::from_le_bytes(*word))
    }

    /// The workers of a slot.
    pub(super) fn workers(self, slot: u32) -> impl Iterator<Item = WorkerScore<'a>> {
        let start = usize::try_from(slot).ok().and_then(|slot| slot.checked_mul(self.row));
        let row = start.and_then(|start| self.workers.get(start..)?.get(..self.row));
        row.unwrap_or_default().chunks_exact(self.worker).filter_map(WorkerScore::read)
    }
}

impl ProcessScore {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [quiescing, not_accepting] = array_at(bytes, 8)?;
        Some(Self {
            pid: i32::from_le_bytes(array_at(bytes, 0)?),
            generation: i32::from_le_bytes(array_at(bytes, 4)?),
            quiescing,
            not_accepting,
            padding: u16::from_le_bytes(array_at(bytes, 10)?),
            connections: u32::from_le_bytes(array_at(bytes, 12)?),
            write_completion: u32::from_le_bytes(array_at(bytes, 16)?),
            lingering_close: u32::from_le_bytes(array_at(bytes, 20)?),
            keep_alive: u32::from_le_bytes(array_at(bytes, 24)?),
            suspended: u32::from_le_bytes(array_at(bytes, 28)?),
        })
    }
}

impl<'a> WorkerScore<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let [status] = array_at(bytes, 20)?;
        let request: &[u8; 64] = bytes.get(152..)?.first_chunk()?;
        Some(Self {
            pid: i32::from_le_bytes(array_at(bytes, 12)?),
            generation: i32::from_le_bytes(array_at(bytes, 16)?),
            status,
            start_time: i64::from_le_bytes(array_at(bytes, 64)?),
            stop_time: i64::from_le_bytes(array_at(bytes, 72)?),
            last_used: i64::from_le_bytes(array_at(bytes, 80)?),
            request: request.split(|byte| *byte == 0).next().unwrap_or_default(),
        })
    }
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}
