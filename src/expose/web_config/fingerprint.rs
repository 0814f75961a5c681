//! Whether a file is still the one that was read.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What changes when a file is written, replaced, or another one is linked in its place.
///
/// The time of the last change of the inode is in it because tools that keep the time of the
/// content (`cp -p`, rsync) cannot keep that one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Files as they were at one time; one that could not be looked at is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprints(Vec<Option<Fingerprint>>);

impl Fingerprints {
    /// Looks at each file, where links lead.
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|path| fingerprint(path)).collect())
    }
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Fingerprint {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
