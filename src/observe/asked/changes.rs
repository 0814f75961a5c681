//! When the files of a configuration changed last.
//!
//! They are only looked at, never opened: an opening of the configuration means a restart.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{file_stamp::FileStamp, model::time::Timestamp};

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
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_added_beside_an_included_one_is_a_change_and_beside_the_main_one_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        let files = ["httpd.conf", "conf.d/a.conf"].map(|name| directory.path().join(name));
        for file in &files {
            fs::write(file, "#\n").unwrap();
        }
        let before = last(&files).unwrap();
        assert!(are_older(&files, before));
        fs::write(directory.path().join("other"), "").unwrap();
        assert_eq!(last(&files), Some(before));
        // The kernel's clock stands still between two ticks.
        while last(&files) == Some(before) {
            fs::write(directory.path().join("conf.d/b.conf"), "").unwrap();
            fs::remove_file(directory.path().join("conf.d/b.conf")).unwrap();
        }
        assert!(!are_older(&files, before));
        fs::remove_file(files.last().unwrap()).unwrap();
        assert_eq!(
            (last(&files), are_older(&files, Timestamp::from_micros(i64::MAX))),
            (None, false)
        );
    }
}
