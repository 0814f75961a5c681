//! Whether the files of a configuration are still those that httpd told of.
//!
//! They are only looked at, never opened: an opening of the configuration means a restart.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{clock, file_stamp::FileStamp, model::time::Timestamp};

/// The kernel stamps a file with the clock of its last tick.
const TICK: i64 = 10_000;

/// What is remembered of the files.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// `None` is a value too: it cannot be looked at.
    stamps: Vec<(PathBuf, Option<FileStamp>)>,
    /// One may have changed while httpd was asked.
    are_late: bool,
}

impl Changes {
    /// Remembers the files of an answer, and the directories of those that are included. `asked` is the answer's time; what changed after it has changed.
    #[must_use]
    pub fn since(asked: Timestamp, files: &[PathBuf]) -> Self {
        let stamps = paths(files).map(|path| (path.to_owned(), FileStamp::of(path))).collect();
        Self::between(asked, clock::now().wall, stamps)
    }

    /// Remembers the same files as they are now. `asked` is when a question was asked that got no
    /// answer; what changed after it has changed.
    pub fn begin_anew(&mut self, asked: Timestamp) {
        let paths = std::mem::take(&mut self.stamps).into_iter().map(|(path, _)| path);
        let stamps = paths.map(|path| (path.clone(), FileStamp::of(&path))).collect();
        *self = Self::between(asked, clock::now().wall, stamps);
    }

    fn between(
        asked: Timestamp,
        now: Timestamp,
        stamps: Vec<(PathBuf, Option<FileStamp>)>,
    ) -> Self {
        let (from, to) = (asked.as_micros() - TICK, now.as_micros() + TICK);
        // A stamp of the future was made before the clock was set back: it says nothing of today.
        let while_asked = |stamp: &FileStamp| (from..=to).contains(&stamp.changed_at());
        // With a clock that was set back meanwhile no stamp can be compared with it.
        let are_late =
            now < asked || stamps.iter().filter_map(|(_, it)| it.as_ref()).any(while_asked);
        Self { stamps, are_late }
    }

    /// One of them is not what it was; to be asked at most once an interval, as it looks at each.
    #[must_use]
    pub fn have_come(&self) -> bool {
        self.are_late || self.stamps.iter().any(|(path, known)| FileStamp::of(path) != *known)
    }
}

/// None of these files was changed after this, nor was one added or removed.
pub(super) fn are_older(files: &[PathBuf], than: Timestamp) -> bool {
    let mut stamps = paths(files).map(FileStamp::of);
    stamps.all(|stamp| stamp.is_some_and(|it| it.changed_at() <= than.as_micros()))
}

/// When the last of these files changed, or one was added or removed; `None` if that cannot be told.
pub(super) fn last(files: &[PathBuf]) -> Option<Timestamp> {
    let stamps: Option<Vec<FileStamp>> = paths(files).map(FileStamp::of).collect();
    let last = stamps?.iter().map(FileStamp::changed_at).max();
    last.map(Timestamp::from_micros)
}

/// The files, and the directories of those that are included: a new file there may be one more.
fn paths(files: &[PathBuf]) -> impl Iterator<Item = &Path> {
    let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    // The main configuration may lie in a directory as busy as /tmp.
    let main = files.first().and_then(|file| file.parent());
    let directories = directories.into_iter().filter(move |directory| Some(*directory) != main);
    directories.chain(files.iter().map(PathBuf::as_path))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use super::*;

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

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_micros(clock::now().wall.as_micros() + seconds * 1_000_000)
    }

    /// Asked long after the files were written, and answered at once.
    fn remembered(files: &[PathBuf]) -> Changes {
        let stamps = Changes::since(later(-1), files).stamps;
        Changes::between(later(60), later(61), stamps)
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
            let known = remembered(&files.files);
            assert!(!known.have_come(), "{number}");
            let before = FileStamp::of(files.files.last().unwrap());
            loop {
                change(files.files.last().unwrap());
                // A change within one tick of the last one leaves the same stamp.
                if known.have_come() || before != FileStamp::of(files.files.last().unwrap()) {
                    break;
                }
            }
            assert!(known.have_come(), "{number}");
        }
    }

    #[test]
    fn what_changed_while_httpd_was_asked_has_changed() {
        let files = files();
        assert!(Changes::since(later(-60), &files.files).have_come());
        assert!(!remembered(&files.files).have_come());
    }

    #[test]
    fn what_is_not_there_stays_so_until_it_comes() {
        let files = files();
        let gone = files.files.last().unwrap().with_file_name("gone/x.conf");
        let known = remembered(std::slice::from_ref(&gone));
        assert!(!known.have_come());
        fs::create_dir(gone.parent().unwrap()).unwrap();
        fs::write(&gone, "").unwrap();
        assert!(known.have_come());
    }

    #[test]
    fn a_stamp_of_the_future_is_a_change_only_when_it_is_another_one() {
        let files = files();
        let stamps = Changes::since(later(-1), &files.files).stamps;
        // Written before the clock was set back by a minute.
        let known = Changes::between(later(-60), later(-59), stamps.clone());
        assert!(!known.have_come());
        fs::write(files.files.first().unwrap(), "###\n").unwrap();
        assert!(known.have_come());
        let set_back = Changes::between(later(60), later(30), stamps);
        assert!(set_back.have_come(), "it was set back while httpd was asked");
    }

    #[test]
    fn a_busy_directory_of_the_main_configuration_is_no_change() {
        let files = files();
        let known = remembered(&files.files);
        fs::write(files.files.first().unwrap().with_file_name("other"), "").unwrap();
        assert!(!known.have_come());
    }

    #[test]
    fn nothing_does_not_change() {
        assert!(!Changes::default().have_come());
    }
}
