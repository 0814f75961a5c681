//! Whether the files of a configuration are still those that httpd told of.
//!
//! They are only looked at, never opened: an opening of the configuration means a restart.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::model::time::Timestamp;

/// The kernel stamps a file with the clock of its last tick.
const TICK: i64 = 10_000;

/// What is remembered of the files.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

/// What tells one content of a path from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Changes {
    /// Remembers the files of an answer, and the directories of those that are included: a new
    /// file there may be one more. `asked` is the answer's time; what changed after it has changed.
    #[must_use]
    pub fn since(asked: Timestamp, files: &[PathBuf]) -> Self {
        let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        // The main configuration may lie in a directory as busy as /tmp.
        let main = files.first().and_then(|file| file.parent());
        let directories = directories.into_iter().filter(|directory| Some(*directory) != main);
        let paths = directories.chain(files.iter().map(PathBuf::as_path));
        let stamps = paths.map(|path| {
            let stamp = stamp(path).filter(|stamp| stamp.changed_at() < asked.as_micros() - TICK);
            (path.to_owned(), stamp)
        });
        Self { stamps: stamps.collect() }
    }

    /// One of them is not what it was; to be asked at most once an interval, as it looks at each.
    #[must_use]
    pub fn have_come(&self) -> bool {
        self.stamps.iter().any(|(path, known)| known.is_none() || stamp(path) != *known)
    }
}

impl Stamp {
    /// Microseconds since the epoch.
    const fn changed_at(&self) -> i64 {
        let (seconds, nanoseconds) = self.changed;
        seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    struct Files {
        _directory: tempfile::TempDir,
        files: Vec<PathBuf>,
    }

    fn files() -> Files {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        let files = ["httpd.conf", "conf.d/a.conf"].map(|name| directory.path().join(name));
        for file in &files {
            fs::write(file, "#\n").unwrap();
        }
        Files { _directory: directory, files: files.into() }
    }

    fn later() -> Timestamp {
        Timestamp::from_micros(clock::now().wall.as_micros() + 60_000_000)
    }

    #[test]
    fn each_kind_of_change_is_seen() {
        let changes: [fn(&Path); 5] = [
            |file| fs::write(file, "##\n").unwrap(),
            |file| {
                fs::write(file.with_extension("new"), "#\n").unwrap();
                fs::rename(file.with_extension("new"), file).unwrap();
            },
            |file| fs::remove_file(file).unwrap(),
            |file| fs::write(file.with_file_name("b.conf"), "").unwrap(),
            |file| {
                let owner = fs::metadata(file).unwrap().uid();
                std::os::unix::fs::chown(file, Some(owner), None).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let files = files();
            // The kernel's clock stands still between two ticks.
            let old = std::time::SystemTime::UNIX_EPOCH;
            let included = fs::File::open(files.files.last().unwrap()).unwrap();
            included.set_modified(old).unwrap();
            let known = Changes::since(later(), &files.files);
            assert!(!known.have_come(), "{number}");
            let before = stamp(files.files.last().unwrap());
            loop {
                change(files.files.last().unwrap());
                // A change within one tick of the last one leaves the same stamp.
                if known.have_come() || before != stamp(files.files.last().unwrap()) {
                    break;
                }
            }
            assert!(known.have_come(), "{number}");
        }
    }

    #[test]
    fn what_changed_while_httpd_was_asked_has_changed() {
        let files = files();
        let earlier = Timestamp::from_micros(clock::now().wall.as_micros() - 60_000_000);
        assert!(Changes::since(earlier, &files.files).have_come());
        assert!(!Changes::since(later(), &files.files).have_come());
    }

    #[test]
    fn a_busy_directory_of_the_main_configuration_is_no_change() {
        let files = files();
        let known = Changes::since(later(), &files.files);
        fs::write(files.files.first().unwrap().with_file_name("other"), "").unwrap();
        assert!(!known.have_come());
    }

    #[test]
    fn nothing_does_not_change() {
        assert!(!Changes::default().have_come());
    }
}
