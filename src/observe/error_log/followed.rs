//! One file that somebody else appends to, read on from where it was left.
//!
//! That it was truncated is told by its size, or by the last bytes before the place where it was
//! left: they are read again with what follows them.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    time::UNIX_EPOCH,
};

use memchr::memchr;

use super::{Sink, Span, place::FileId};
use crate::{
    clock,
    model::time::{Moment, Timestamp, Uptime},
};

/// As many bytes before the place are compared as hold the time of an ordinary line.
const FINGERPRINT: u64 = 64;
/// Who is further behind than this will not catch up.
const MOST_WAITING: u64 = 64 << 20;
/// What is looked at of what is waiting when that is too much.
const LATEST: u64 = 16 << 20;

/// How long a file was at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    at: Moment,
    size: u64,
}

/// What one reading of a file did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were read.
    pub read: u64,
    /// There is more, within the extent.
    pub more: bool,
    /// The file was found truncated.
    pub truncated: bool,
}

/// A file and how far it was read.
#[derive(Debug)]
pub struct Followed<L> {
    file: File,
    id: FileId,
    offset: u64,
    /// What stands before `offset`.
    fingerprint: Vec<u8>,
    /// `offset` is within a line whose beginning was not read.
    within_skipped_line: bool,
    /// The size when it was last asked.
    size: u64,
    /// When everything that there was had been read.
    reached: Moment,
    /// When something came.
    grew: Moment,
    is_removed: bool,
    lines: L,
}

impl Extent {
    /// In bytes.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }
}

impl<L: Default> Followed<L> {
    /// Follows a file from its beginning.
    #[must_use]
    pub fn from_beginning(file: File, id: FileId) -> Self {
        let now = clock::now();
        let reached = birth(&file, now);
        Self {
            file,
            id,
            offset: 0,
            fingerprint: Vec::new(),
            within_skipped_line: false,
            size: 0,
            reached,
            grew: now,
            is_removed: false,
            lines: L::default(),
        }
    }

    /// Follows a file from its end: what it says already is skipped, and told to nobody.
    pub fn from_end(file: File, id: FileId) -> io::Result<Self> {
        let mut followed = Self::from_beginning(file, id);
        let extent = followed.extent()?;
        followed.seek(extent.size)?;
        followed.size = extent.size;
        followed.reached = extent.at;
        Ok(followed)
    }

    /// Which file it is.
    pub const fn id(&self) -> FileId {
        self.id
    }

    /// The file itself.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Up to where it was read.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// When something came last, or when it was opened.
    pub const fn grew(&self) -> Moment {
        self.grew
    }

    /// How long the file is now.
    pub fn extent(&self) -> io::Result<Extent> {
        // The moment before the size: what is beyond that size came after it.
        let at = clock::now();
        Ok(Extent { at, size: self.file.metadata()?.len() })
    }

    /// Whether its last name was removed since this was last asked.
    pub fn is_newly_removed(&mut self) -> bool {
        let removed = self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        removed && !std::mem::replace(&mut self.is_removed, removed)
    }

    /// Hands over what there is up to an extent's end, at most `limit` bytes of it.
    pub fn read<S: Sink<Lines = L>>(
        &mut self,
        sink: &mut S,
        buffer: &mut [u8],
        extent: Extent,
        limit: u64,
    ) -> io::Result<Progress> {
        let mut progress = Progress { read: 0, more: false, truncated: false };
        if extent.size.saturating_sub(self.offset) > MOST_WAITING {
            self.skip(sink, extent.size - LATEST)?;
        }
        loop {
            let left = limit.saturating_sub(progress.read);
            let left = left.min(extent.size.saturating_sub(self.offset));
            let known = self.fingerprint.len();
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(known);
            let wanted = wanted.min(buffer.len());
            let begin = self.offset.saturating_sub(count(known));
            let read = read_at(&self.file, buffer.get_mut(..wanted).unwrap_or_default(), begin)?;
            let read = buffer.get(..read).unwrap_or_default();
            let Some(news) = read.strip_prefix(self.fingerprint.as_slice()) else {
                self.begin_again(sink, extent.at);
                progress.truncated = true;
                continue;
            };
            if news.is_empty() {
                break;
            }
            let before = clock::now();
            self.hand_over(sink, news, before);
            self.grew = before;
            self.offset += count(news.len());
            progress.read += count(news.len());
            let kept = read.len().min(usize::try_from(FINGERPRINT).unwrap_or(0));
            self.fingerprint.clear();
            self.fingerprint.extend_from_slice(read.get(read.len() - kept..).unwrap_or_default());
        }
        self.size = extent.size;
        progress.more = self.offset < extent.size && progress.read >= limit;
        if self.offset >= extent.size {
            self.reached = extent.at;
        }
        Ok(progress)
    }

    /// Reads what there is for a last time, at most `limit` bytes of it.
    pub fn finish<S: Sink<Lines = L>>(mut self, sink: &mut S, buffer: &mut [u8], limit: u64) {
        if let Ok(extent) = self.extent() {
            // What cannot be read cannot be counted either.
            let _ = self.read(sink, buffer, extent, limit);
            sink.skipped(extent.size.saturating_sub(self.offset));
        }
        sink.cut(&mut self.lines, clock::now());
    }

    fn hand_over<S: Sink<Lines = L>>(&mut self, sink: &mut S, news: &[u8], before: Moment) {
        let mut news = news;
        if self.within_skipped_line {
            let end = memchr(b'\n', news);
            let (skipped, rest) = news.split_at(end.map_or(news.len(), |end| end + 1));
            self.within_skipped_line = end.is_none();
            sink.skipped(count(skipped.len()));
            news = rest;
        }
        if !news.is_empty() {
            sink.feed(&mut self.lines, news, Span { after: self.reached, before });
        }
    }

    /// It is another file now, by what it says.
    fn begin_again<S: Sink<Lines = L>>(&mut self, sink: &mut S, at: Moment) {
        // Known to have been there, and never read.
        sink.skipped(self.size.saturating_sub(self.offset));
        sink.cut(&mut self.lines, at);
        self.offset = 0;
        self.size = 0;
        self.fingerprint.clear();
        self.within_skipped_line = false;
    }

    fn skip<S: Sink<Lines = L>>(&mut self, sink: &mut S, offset: u64) -> io::Result<()> {
        let former = self.offset;
        self.seek(offset)?;
        sink.cut(&mut self.lines, clock::now());
        sink.skipped(self.offset.saturating_sub(former));
        Ok(())
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        let length = offset.min(FINGERPRINT);
        let mut before = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = read_at(&self.file, &mut before, offset - length)?;
        // Truncated just now, if there is less.
        let is_there = read == before.len();
        self.fingerprint = if is_there { before } else { Vec::new() };
        self.offset = if is_there { offset } else { 0 };
        self.within_skipped_line = self.fingerprint.last().is_some_and(|last| *last != b'\n');
        Ok(())
    }
}

/// When a file came to be: nothing in it is older. If that is not known, when the host booted.
fn birth(file: &File, now: Moment) -> Moment {
    let created = file.metadata().and_then(|metadata| metadata.created()).ok();
    let micros = created
        .and_then(|created| created.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_micros()).ok());
    match micros {
        Some(micros) => now.at_wall(Timestamp::from_micros(micros)).min(now),
        None => now.at_uptime(Uptime::from_micros(0)),
    }
}

fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
