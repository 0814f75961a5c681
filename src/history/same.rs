//! Logs that are named twice: a file and its copy, perhaps packed, or an older copy of it.
//!
//! Told together they would be restarts that never were.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use super::{gzip::Gzip, stream::GZIP};

/// Which of two logs holds all that is in the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// The first; the second may be as long.
    First,
    /// The second.
    Second,
    /// Neither.
    Neither,
}

/// Compares two logs to the end of the shorter one.
pub fn compare(one: &Path, other: &Path) -> io::Result<Whole> {
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let whole = match (left.is_empty(), right.is_empty()) {
            (_, true) => Some(Whole::First),
            (true, false) => Some(Whole::Second),
            (false, false) => None,
        };
        if let Some(whole) = whole {
            return Ok(whole);
        }
        let common = left.len().min(right.len());
        if left.get(..common) != right.get(..common) {
            return Ok(Whole::Neither);
        }
        one.consume(common);
        other.consume(common);
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    let is_gzip = file.fill_buf()?.starts_with(GZIP);
    Ok(if is_gzip { Box::new(BufReader::new(Gzip::new(file))) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_copy_is_found_whether_it_is_packed_shorter_or_neither() {
        let directory = tempfile::tempdir().unwrap();
        let text = "some line of a log\n".repeat(5000);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let path = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let plain = path("plain", text.as_bytes());
        let packed = path("packed", &encoder.finish().unwrap());
        let short = path("short", &text.as_bytes()[..70_000]);
        let other = path("other", text.replace("log", "LOG").as_bytes());
        assert_eq!(compare(&plain, &packed).unwrap(), Whole::First);
        assert_eq!(compare(&packed, &short).unwrap(), Whole::First);
        assert_eq!(compare(&short, &packed).unwrap(), Whole::Second);
        assert_eq!(compare(&other, &plain).unwrap(), Whole::Neither);
    }
}
