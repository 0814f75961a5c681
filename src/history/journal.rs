//! The journal of a state directory, read as it is, oldest first.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    decode::{error_log::LineSplitter, journal::entry},
    model::journal::Entry,
};

const NAME: &str = "journal.jsonl";
const CHUNK: usize = 64 * 1024;

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

/// Hands over each line of a file, as an entry, or, if it is none, as its number.
pub fn read(path: &Path, mut each: impl FnMut(Result<Entry, u64>)) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut splitter = LineSplitter::default();
    let mut chunk = vec![0; CHUNK];
    let mut number = 0;
    let mut take = |line: &[u8]| {
        number += 1;
        if !line.trim_ascii().is_empty() {
            each(entry(line).ok_or(number));
        }
    };
    loop {
        match file.read(&mut chunk) {
            Ok(0) => {
                splitter.cut(take);
                return Ok(());
            }
            Ok(count) => {
                splitter.feed(chunk.get(..count).unwrap_or_default(), &mut take);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
