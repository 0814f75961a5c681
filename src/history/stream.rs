//! Files to notes in the order of time: plain or gzip, a chunk at a time, whatever their size.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    fs::{File, Metadata},
    io::{self, BufReader, Read},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use jiff::tz::TimeZone;
use thiserror::Error;

use super::{
    calendar::{Calendar, Instant},
    gzip::Gzip,
    note::{Note, note},
    same::{Whole, compare},
};
use crate::{
    decode::error_log::{LineSplitter, LogTime, escaped, told},
    model::time::Timestamp,
};

/// What is read at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// The time stands in these first bytes of a line.
const LONGEST_HEADER: usize = 128;
/// A log whose first lines have no time is taken for as old as its file, in bytes.
const FIRST_TIME_WITHIN: usize = CHUNK;
/// What is shown of a path, in bytes.
const LONGEST_PATH: usize = 4096;
/// What a gzip file begins with.
pub(super) const GZIP: &[u8] = &[0x1f, 0x8b];
/// What other compressors begin their files with.
const COMPRESSED: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ", "xz"), (b"BZh", "bzip2"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// A log that cannot be read.
#[derive(Debug, Error)]
pub enum LogError {
    /// It cannot be opened.
    #[error("{}: {source}", shown(path))]
    Unreadable {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read to its end.
    #[error("{}: {source}", shown(path))]
    Broken {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a directory.
    #[error(
        "{}: is a directory: name the logs in it, such as {}/error_log*",
        shown(path),
        shown(path)
    )]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// It is compressed in a way that is not known here.
    #[error(
        "{}: is compressed with {with}: of compressed logs only gzip's are read; pipe it through {with} -dc, and name -",
        shown(path)
    )]
    Compressed {
        /// The log.
        path: PathBuf,
        /// The compressor.
        with: &'static str,
    },
}

/// One log.
pub struct Log {
    path: PathBuf,
    input: Box<dyn Read>,
    splitter: LineSplitter,
    calendar: Calendar,
    /// How the last line began that may have a time, for lines without one that follow it.
    before: Vec<u8>,
    /// Notes of what was read that nobody took yet.
    notes: VecDeque<(Option<LogTime>, Note)>,
    /// The first of them, once its time is asked for.
    head: Option<(Instant, Note)>,
    chunk: Vec<u8>,
    is_over: bool,
    /// Why it could not be read any further, until that was told.
    trouble: Option<io::Error>,
    /// When its first line was written.
    first: Timestamp,
    /// No line tells when it was written, as far as was looked.
    is_timeless: bool,
    /// How often it was rotated, by its name.
    rotation: u32,
    /// It can be read a second time.
    is_regular: bool,
}

/// Several logs as one sequence.
#[derive(Default)]
pub struct Logs {
    logs: Vec<Log>,
}

impl Log {
    /// Opens a log; a file that is not regular counts as written now.
    pub fn open(path: &Path, zone: &TimeZone, now: Timestamp) -> Result<Self, LogError> {
        let unreadable = |source| LogError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(LogError::Directory { path: path.to_owned() });
        }
        let written = if metadata.is_file() { written(&metadata).unwrap_or(now) } else { now };
        let log = Self::read(path, Box::new(file), Calendar::new(zone.clone(), written))?;
        Ok(Self { is_regular: metadata.is_file(), ..log })
    }

    /// Reads a log from wherever it comes.
    pub fn read(
        path: &Path,
        mut input: Box<dyn Read>,
        calendar: Calendar,
    ) -> Result<Self, LogError> {
        let mut head = Vec::new();
        let read = input.by_ref().take(6).read_to_end(&mut head);
        read.map_err(|source| LogError::Broken { path: path.to_owned(), source })?;
        if let Some((_, with)) = COMPRESSED.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(LogError::Compressed { path: path.to_owned(), with });
        }
        let is_gzip = head.starts_with(GZIP);
        let input = io::Cursor::new(head).chain(input);
        let input: Box<dyn Read> =
            if is_gzip { Box::new(Gzip::new(BufReader::new(input))) } else { Box::new(input) };
        let mut log = Self {
            path: path.to_owned(),
            input,
            splitter: LineSplitter::default(),
            calendar,
            before: Vec::new(),
            notes: VecDeque::new(),
            head: None,
            chunk: Vec::new(),
            is_over: false,
            trouble: None,
            first: Timestamp::default(),
            is_timeless: false,
            rotation: rotation(path),
            is_regular: false,
        };
        let mut first = None;
        let mut looked_at = 0;
        while first.is_none() && !log.is_over && looked_at < FIRST_TIME_WITHIN {
            looked_at += log.fill(|line| first = first.or_else(|| told(line).time));
        }
        log.is_timeless = first.is_none() && looked_at > 0;
        // Hundreds of logs may wait for their turn.
        log.chunk = Vec::new();
        // Lines without a time that come before it are as old as the first one with a time.
        log.first = log.calendar.instant(first).at;
        Ok(log)
    }

    /// The time of all that it tells, if no line says when it was written: its file's.
    #[must_use]
    pub fn time_of_file(&self) -> Option<Timestamp> {
        self.is_timeless.then_some(self.first)
    }

    /// It may hold the same as another log: both begin at the same time, and can be read twice.
    fn may_be(&self, other: &Self) -> bool {
        let is_comparable = self.is_regular && other.is_regular && !self.is_timeless;
        is_comparable && self.first == other.first
    }

    /// What it is called, fit to be shown.
    #[must_use]
    pub fn name(&self) -> String {
        shown(&self.path)
    }

    /// Reads the next chunk, and returns its length in bytes.
    fn fill(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        let Self { input, splitter, before, notes, chunk, is_over, trouble, .. } = self;
        chunk.resize(CHUNK, 0);
        let mut take = |line: &[u8]| {
            each(line);
            if let Some(note) = note(line) {
                let time = note.time.or_else(|| told(before).time);
                notes.push_back((time, note));
            }
            if line.first().is_some_and(|first| matches!(first, b'[' | b'{' | b'0'..=b'9')) {
                before.clear();
                before.extend_from_slice(line.get(..LONGEST_HEADER).unwrap_or(line));
            }
        };
        match input.read(chunk) {
            Ok(0) => {
                *is_over = true;
                splitter.cut(take);
            }
            Ok(count) => {
                splitter.feed(chunk.get(..count).unwrap_or_default(), &mut take);
                return count;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return 0,
            Err(error) => {
                (*is_over, *trouble) = (true, Some(error));
                splitter.cut(take);
            }
        }
        // What waits to be told needs neither the file nor room for more of it.
        (*input, *chunk) = (Box::new(io::empty()), Vec::new());
        0
    }

    /// When the next note was written; `None` at the end.
    fn next_at(&mut self) -> Result<Option<Timestamp>, LogError> {
        while self.head.is_none() && self.notes.is_empty() && !self.is_over {
            self.fill(|_| {});
        }
        if let Some(source) = self.trouble.take() {
            return Err(LogError::Broken { path: self.path.clone(), source });
        }
        if self.head.is_none()
            && let Some((time, note)) = self.notes.pop_front()
        {
            let instant = self.calendar.instant(time);
            let is_fine = instant.is_fine && note.time.is_some();
            self.head = Some((Instant { is_fine, ..instant }, note));
        }
        Ok(self.head.as_ref().map(|(instant, _)| instant.at))
    }

    fn is_done(&self) -> bool {
        self.is_over && self.notes.is_empty() && self.head.is_none() && self.trouble.is_none()
    }
}

impl Logs {
    /// Puts the logs in the order of their first lines, whatever order they are named in.
    #[must_use]
    pub fn new(mut logs: Vec<Log>) -> Self {
        logs.sort_by(|one, other| {
            let key = |log: &Log| (log.first, Reverse(log.rotation));
            key(one).cmp(&key(other)).then_with(|| one.path.cmp(&other.path))
        });
        Self { logs }
    }

    /// Drops logs of which another one holds everything, and returns their names, each with that
    /// of the other one.
    pub fn drop_copies(&mut self) -> Vec<(String, String)> {
        let mut dropped = Vec::new();
        let mut index = 0;
        while let Some(log) = self.logs.get(index) {
            // They are in the order of their beginnings.
            let others = self.logs.iter().enumerate().skip(index + 1);
            let alike = others.take_while(|(_, other)| other.first == log.first);
            let copy = alike.filter(|(_, other)| log.may_be(other)).find_map(|(at, other)| {
                // Where one cannot be read again, both are told.
                match compare(&log.path, &other.path).ok()? {
                    Whole::First => Some((at, other.name(), log.name())),
                    Whole::Second => Some((index, log.name(), other.name())),
                    Whole::Neither => None,
                }
            });
            match copy {
                Some((at, copy, whole)) => {
                    self.logs.remove(at);
                    dropped.push((copy, whole));
                }
                None => index += 1,
            }
        }
        dropped
    }

    /// The next note of all. After an error the log that it is about ends with what was read of it.
    pub fn next_note(&mut self) -> Result<Option<(Instant, Note)>, LogError> {
        let mut earliest: Option<(Timestamp, usize)> = None;
        for (index, log) in self.logs.iter_mut().enumerate() {
            // Those that begin later need not be read yet.
            if earliest.is_some_and(|(at, _)| log.first > at) {
                break;
            }
            if let Some(at) = log.next_at()?
                && earliest.is_none_or(|(earliest, _)| at < earliest)
            {
                earliest = Some((at, index));
            }
        }
        let Some((_, index)) = earliest else {
            self.logs.clear();
            return Ok(None);
        };
        let note = self.logs.get_mut(index).and_then(|log| log.head.take());
        self.logs.retain(|log| !log.is_done());
        Ok(note)
    }
}

/// A path as text that does nothing to a terminal.
fn shown(path: &Path) -> String {
    escaped(path.as_os_str().as_bytes(), LONGEST_PATH)
}

fn written(metadata: &Metadata) -> Option<Timestamp> {
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok().map(Timestamp::from_micros)
}

/// 2 of `error_log.2.gz`, 0 of `error_log`.
fn rotation(path: &Path) -> u32 {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let last = name.rsplit('.').next().unwrap_or_default();
    last.parse().ok().filter(|number| *number < 10_000).unwrap_or(0)
}
