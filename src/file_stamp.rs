//! Whether a file is still the one that was looked at, without opening it.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

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
        fs::metadata(path).ok().as_ref().map(Self::read)
    }

    /// That of a file, or of a link, that was looked at already.
    #[must_use]
    pub fn read(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// When the inode last changed, in microseconds since the epoch, by the kernel's last tick.
    #[must_use]
    pub const fn changed_at(&self) -> i64 {
        let (seconds, nanoseconds) = self.changed;
        seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
    }

    /// When the content was last written, in microseconds since the epoch; tools set it as they
    /// like.
    #[must_use]
    pub const fn modified_at(&self) -> i64 {
        let (seconds, nanoseconds) = self.modified;
        seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
    }

    /// How large the file is, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All that is in it, for a digest.
    pub fn each_byte(&self) -> impl Iterator<Item = u8> {
        let whole = [self.device, self.inode, self.bytes].map(u64::to_le_bytes);
        let times = [self.modified, self.changed];
        let times = times.map(|(seconds, rest)| [seconds.to_le_bytes(), rest.to_le_bytes()]);
        whole.into_iter().chain(times.into_iter().flatten()).flatten()
    }
}
