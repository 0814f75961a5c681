//! The journal of a state directory, read as it is.
//!
//! Who may write the directory decides what is in it: nothing there makes a reader wait, nor leads
//! him elsewhere.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open};

use crate::{
    decode::journal::{LONGEST, entry},
    model::{journal::Entry, time::Timestamp},
};

const NAME: &str = "journal.jsonl";
/// What is held back for the sake of the order: a whole journal has fewer lines.
const MOST_HELD: usize = 150_000;

/// Entries in the order in which things began; lines are written when they end.
#[derive(Debug, Default)]
pub struct Ordered {
    held: BTreeMap<(Timestamp, u64), Entry>,
    count: u64,
}

impl Ordered {
    /// Takes the next one, and returns the oldest once there are too many.
    pub fn take(&mut self, entry: Entry) -> Option<Entry> {
        self.count += 1;
        self.held.insert((entry.at, self.count), entry);
        let is_full = self.held.len() > MOST_HELD;
        is_full.then(|| self.held.pop_first().map(|(_, entry)| entry)).flatten()
    }

    /// What is left.
    pub fn end(self) -> impl Iterator<Item = Entry> {
        self.held.into_values()
    }
}

/// The journal's files, those that were rotated away first, the oldest of them before all.
pub fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut rotated = Vec::new();
    for found in fs::read_dir(directory)? {
        let name = found?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME)?.strip_prefix('.'));
        if let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) {
            rotated.push((number, directory.join(name)));
        }
    }
    rotated.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let mut files: Vec<_> = rotated.into_iter().map(|(_, path)| path).collect();
    files.push(directory.join(NAME));
    Ok(files)
}

/// Hands over each line of a file, as an entry, or, if it is none, as its number. Returns whether
/// it is a regular file, and no link to one: nothing else is read.
pub fn read(path: &Path, mut each: impl FnMut(Result<Entry, u64>)) -> io::Result<bool> {
    // Without NONBLOCK the opening of a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        if file.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() >= LONGEST && !line.ends_with(b"\n") {
            file.skip_until(b'\n')?;
        }
        let line = line.trim_ascii();
        if !line.is_empty() {
            each(entry(line).ok_or(number));
        }
    }
    Ok(true)
}
