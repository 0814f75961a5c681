//! `journal.jsonl`: what happened, a line each, the newest last; older ones in `journal.jsonl.1` to
//! `.4`.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

use rustix::{
    fs::{Mode, OFlags, fsync, openat, renameat},
    io::Errno,
    process::geteuid,
};

use super::directory::Folder;
use crate::{decode::journal::entry, model::journal::Entry};

/// The newest first.
const NAMES: [&str; 5] =
    ["journal.jsonl", "journal.jsonl.1", "journal.jsonl.2", "journal.jsonl.3", "journal.jsonl.4"];
/// A file that would be larger with the next line becomes an older one: some ten thousand lines.
const LARGEST: u64 = 4 << 20;

/// Appends these lines, which have no ends, and returns when the disk has them: how many of them,
/// from the first on, and why not all if so. The others are not there.
///
/// A line that a killed program left half written is ended first: it is nobody's, and the next one
/// is whole. Each line is one write, so that who follows the file sees whole ones.
pub fn append(folder: &Folder, lines: &[String]) -> (usize, io::Result<()>) {
    append_within(folder, lines, LARGEST)
}

/// Every entry that can be read, the oldest first, but at most the newest `most` ones.
///
/// A file that is not there or not to be trusted is as empty, and a line that is none as if it were
/// not there.
#[must_use]
pub fn newest(folder: &Folder, most: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for name in NAMES {
        if entries.len() >= most {
            break;
        }
        let bytes = read(folder, name).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').rev();
        entries.extend(lines.filter_map(entry).take(most - entries.len()));
    }
    entries.reverse();
    entries
}

fn append_within(folder: &Folder, lines: &[String], largest: u64) -> (usize, io::Result<()>) {
    let mut rest = lines;
    while !rest.is_empty() {
        match append_to_one(folder, rest, largest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) => return (lines.len() - rest.len(), Err(error)),
        }
    }
    (lines.len(), Ok(()))
}

/// Writes as many lines as the newest file has room for, at least one, and returns how many.
fn append_to_one(folder: &Folder, lines: &[String], largest: u64) -> io::Result<usize> {
    let Some(first) = lines.first() else { return Ok(0) };
    let (mut file, mut length) = open(folder)?;
    if length > 0 && length.saturating_add(size(first)) > largest {
        rotate(folder)?;
        (file, length) = open(folder)?;
    }
    let mut written = length;
    let fit = lines.iter().take_while(|line| {
        written = written.saturating_add(size(line));
        written <= largest
    });
    let fit = fit.count().max(1);
    write(&mut file, lines.iter().take(fit)).inspect_err(|_| {
        // Of a disk that is full nothing else is known.
        let _ = file.set_len(length);
    })?;
    Ok(fit)
}

/// Of a line, with its end.
fn size(line: &str) -> u64 {
    u64::try_from(line.len()).unwrap_or(u64::MAX).saturating_add(1)
}

fn write<'a>(file: &mut File, lines: impl Iterator<Item = &'a String>) -> io::Result<()> {
    for line in lines {
        file.write_all(format!("{line}\n").as_bytes())?;
    }
    file.sync_data()
}

/// The newest file, whose last line is whole, and its length.
fn open(folder: &Folder) -> io::Result<(File, u64)> {
    let [newest, ..] = NAMES;
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE;
    let (mut file, length) = own(folder, newest, flags)?;
    if length > 0 {
        let mut last = [0];
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            return Ok((file, length + 1));
        }
    } else {
        fsync(folder.as_fd())?;
    }
    Ok((file, length))
}

/// A regular file of our own, and its length: nobody else decides what is written where.
fn own(folder: &Folder, name: &str, flags: OFlags) -> io::Result<(File, u64)> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(format!("{name} is not a regular file")));
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(io::Error::other(format!("{name} is user {}'s", metadata.uid())));
    }
    Ok((file, metadata.len()))
}

fn rotate(folder: &Folder) -> io::Result<()> {
    for names in NAMES.windows(2).rev() {
        if let [newer, older] = names {
            match renameat(folder, *newer, folder, *older) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(fsync(folder.as_fd())?)
}

/// The last bytes of a file, from the beginning of a line on: who made it larger than it should be
/// is not read for ever.
fn read(folder: &Folder, name: &str) -> io::Result<Vec<u8>> {
    let (mut file, length) = own(folder, name, OFlags::RDONLY)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(2 * LARGEST)))?;
    file.take(2 * LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
        path::Path,
    };

    use super::*;
    use crate::model::{event::StopType, journal::What, time::Timestamp};

    fn stop(number: i64) -> Entry {
        Entry {
            at: Timestamp::from_micros(number),
            server: "main".to_owned(),
            what: What::Stop { kind: StopType::Stop },
            evidence: Vec::new(),
        }
    }

    fn line(number: i64) -> String {
        serde_json::to_string(&stop(number)).unwrap()
    }

    fn numbers(folder: &Folder, most: usize) -> Vec<i64> {
        newest(folder, most).iter().map(|entry| entry.at.as_micros()).collect()
    }

    fn length(directory: &Path, name: &str) -> u64 {
        fs::metadata(directory.join(name)).unwrap().len()
    }

    #[test]
    fn lines_are_read_back_in_their_order_and_the_oldest_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        assert_eq!(numbers(&folder, 9), Vec::<i64>::new());
        append(&folder, &[line(1), line(2)]).1.unwrap();
        append(&folder, &[line(3)]).1.unwrap();
        assert_eq!(numbers(&folder, 9), [1, 2, 3]);
        assert_eq!(numbers(&folder, 2), [2, 3]);
        let file = fs::metadata(directory.path().join("journal.jsonl")).unwrap();
        assert_eq!(file.permissions().mode() & 0o7777, 0o600);
        assert_eq!(file.len(), 3 * size(&line(1)));
    }

    #[test]
    fn a_line_that_was_cut_off_costs_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        for cut in 1..=line(2).len() {
            let (whole, torn) = (line(1), line(2));
            let text = format!("{whole}\n{}", &torn[..cut]);
            fs::write(directory.path().join("journal.jsonl"), text).unwrap();
            append(&folder, &[line(3)]).1.unwrap();
            let expected: &[i64] = if cut == torn.len() { &[1, 2, 3] } else { &[1, 3] };
            assert_eq!(numbers(&folder, 9), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_file_that_is_full_becomes_an_older_one_and_five_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let largest = 2 * size(&line(1));
        append_within(&folder, &(1..=5).map(line).collect::<Vec<_>>(), largest).1.unwrap();
        assert_eq!(numbers(&folder, 9), [1, 2, 3, 4, 5]);
        for number in 6..=20 {
            append_within(&folder, &[line(number)], largest).1.unwrap();
        }
        assert_eq!(numbers(&folder, 99), (11..=20).collect::<Vec<_>>(), "five files of two");
        assert_eq!(numbers(&folder, 3), [18, 19, 20]);
        for name in NAMES {
            assert_eq!(length(directory.path(), name), largest, "{name}");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), NAMES.len());
        let long = "x".repeat(usize::try_from(largest).unwrap() * 3);
        append_within(&folder, &[long], largest).1.unwrap();
        append_within(&folder, &[line(21)], largest).1.unwrap();
        assert_eq!(numbers(&folder, 3), [19, 20, 21], "what is too long for any file is written");
    }

    #[test]
    fn what_is_no_file_of_our_own_is_neither_written_nor_read() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let (file, other) =
            (directory.path().join("journal.jsonl"), directory.path().join("other"));
        fs::write(&other, format!("{}\n", line(1))).unwrap();
        symlink(&other, &file).unwrap();
        assert!(append(&folder, &[line(2)]).1.is_err());
        assert_eq!(numbers(&folder, 9), Vec::<i64>::new());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(append(&folder, &[line(2)]).1.is_err());
        fs::remove_dir(&file).unwrap();
        fs::rename(&other, &file).unwrap();
        if chown(&file, Some(65534), None).is_err() {
            eprintln!("NOT TESTED, as this is not root: that a file of others is not written");
            return;
        }
        let error = append(&folder, &[line(2)]).1.unwrap_err().to_string();
        assert_eq!(error, "journal.jsonl is user 65534's");
        assert_eq!(numbers(&folder, 9), Vec::<i64>::new());
    }

    #[test]
    fn of_lines_that_need_two_files_those_that_are_there_are_told_if_the_second_fails() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        // The second file cannot be begun: the oldest cannot be replaced.
        fs::create_dir(directory.path().join("journal.jsonl.4")).unwrap();
        fs::write(directory.path().join("journal.jsonl.3"), "").unwrap();
        let largest = 2 * size(&line(1));
        let lines: Vec<String> = (1..=3).map(line).collect();
        let (written, outcome) = append_within(&folder, &lines, largest);
        assert!(outcome.is_err());
        assert_eq!((written, numbers(&folder, 9)), (2, vec![1, 2]));
        fs::remove_dir(directory.path().join("journal.jsonl.4")).unwrap();
        assert_eq!(append_within(&folder, &lines[written..], largest).0, 1);
        assert_eq!(numbers(&folder, 9), [1, 2, 3]);
    }
}
