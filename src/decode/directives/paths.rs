//! Files that a configuration names, each once.

use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::limits::Room;
use crate::decode::server_path::absolute;

/// Absolute paths; there is room for so much.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    root: Option<PathBuf>,
    known: BTreeSet<PathBuf>,
    room: Room,
}

impl Paths {
    /// Of files below this `ServerRoot`, where their names are relative.
    pub(super) const fn below(root: Option<PathBuf>) -> Self {
        Self { root, known: BTreeSet::new(), room: Room::whole() }
    }

    /// Whether it could be made absolute and there was room.
    pub(super) fn add(&mut self, name: &[u8]) -> bool {
        absolute(self.root.as_deref(), name).is_some_and(|path| self.add_path(&path))
    }

    /// The same of one that is absolute.
    pub(super) fn add_path(&mut self, path: &Path) -> bool {
        let is_kept =
            self.known.contains(path) || self.room.take(path.as_os_str().as_bytes().len());
        if is_kept {
            self.known.insert(path.to_owned());
        }
        is_kept
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn all(self) -> Arc<[PathBuf]> {
        self.known.into_iter().collect()
    }
}
