//! Whether a file is still the one that was looked at, without opening it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// What changes when a file is written, replaced, or another one is linked in its place.
///
/// The time of the last change of the inode is in it because tools that keep the time of the
/// content (`cp -p`, rsync) cannot keep that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// The file where links lead; `None` if it cannot be looked at.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// When the inode last changed, in microseconds since the epoch, by the kernel's last tick.
    #[must_use]
    pub const fn changed_at(&self) -> i64 {
        let (seconds, nanoseconds) = self.changed;
        seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
    }
}
