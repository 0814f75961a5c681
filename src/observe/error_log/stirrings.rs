//! What the kernel tells of followed files: that one grew, and that one was renamed or removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::place::{FileId, own_descriptor};

/// Reports that are taken at a time; the rest is taken the next time.
const MOST_AT_ONCE: usize = 4096;

/// The files that are watched; none, where the kernel has no watch to spare: then they are read
/// when somebody asks.
#[derive(Debug)]
pub struct Stirrings {
    inotify: Option<OwnedFd>,
    watches: BTreeMap<FileId, i32>,
}

/// What happened to which files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stirred {
    /// Something may have come, or have been taken away.
    pub changed: BTreeSet<FileId>,
    /// They may have lost a name.
    pub touched: BTreeSet<FileId>,
    /// They have another name now.
    pub renamed: BTreeSet<FileId>,
}

impl Stirrings {
    /// Watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Self { inotify, watches: BTreeMap::new() }
    }

    /// Readable when something happened.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Makes the watched files these.
    pub fn watch<'a>(&mut self, files: impl Iterator<Item = (FileId, &'a File)>) {
        let Some(inotify) = &self.inotify else { return };
        let files: BTreeMap<FileId, &File> = files.collect();
        self.watches.retain(|id, watch| {
            let stays = files.contains_key(id);
            if !stays {
                // It is gone already if the file is.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            stays
        });
        let events = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE_SELF
            | WatchFlags::DELETE_SELF;
        for (id, file) in files {
            if self.watches.contains_key(&id) {
                continue;
            }
            // By the open file, not by its name, which may be another one's by now.
            if let Ok(watch) = inotify::add_watch(inotify, own_descriptor(file), events) {
                self.watches.insert(id, watch);
            }
        }
    }

    /// Takes what happened.
    pub fn take(&mut self) -> Stirred {
        let mut stirred = Stirred::default();
        let Some(inotify) = &self.inotify else { return stirred };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify.as_fd(), &mut buffer);
        for _ in 0..MOST_AT_ONCE {
            let Ok(event) = reader.next() else { break };
            let events = event.events();
            if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                stirred.changed.extend(self.watches.keys());
                stirred.touched.extend(self.watches.keys());
                continue;
            }
            let watched = self.watches.iter().find(|(_, watch)| **watch == event.wd());
            let Some((id, _)) = watched else { continue };
            stirred.changed.insert(*id);
            if events.intersects(ReadFlags::ATTRIB | ReadFlags::DELETE_SELF) {
                stirred.touched.insert(*id);
            }
            if events.contains(ReadFlags::MOVE_SELF) {
                stirred.renamed.insert(*id);
            }
        }
        stirred
    }
}

impl Default for Stirrings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn an_open_file_is_watched_whatever_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error_log");
        let mut file = File::create(&path).unwrap();
        let id = FileId::of(&file).unwrap();
        let mut stirrings = Stirrings::new();
        let moved = directory.path().join("error_log.1");
        fs::rename(&path, &moved).unwrap();
        stirrings.watch([(id, &file)].into_iter());
        assert_eq!(stirrings.take(), Stirred::default());
        file.write_all(b"line\n").unwrap();
        assert_eq!(stirrings.take(), Stirred { changed: [id].into(), ..Stirred::default() });
        fs::rename(&moved, &path).unwrap();
        assert_eq!(stirrings.take().renamed, [id].into());
        fs::remove_file(&path).unwrap();
        assert_eq!(stirrings.take().touched, [id].into());
        file.write_all(b"line\n").unwrap();
        assert_eq!(stirrings.take().changed, [id].into(), "deleted and written");
        stirrings.watch([].into_iter());
        file.write_all(b"line\n").unwrap();
        assert_eq!(stirrings.take(), Stirred::default());
    }
}
