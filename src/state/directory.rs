//! The directory itself: who has it, and files in it that are whole at any moment.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fsync, open, openat, renameat, unlinkat},
    io::Errno,
    process::geteuid,
};
use thiserror::Error;

use crate::trusted_path::{Distrust, trusted_directory, trusted_way};

const SERVERS: &str = "servers.json";
const SERVERS_NEW: &str = "servers.json.new";
const LOCK: &str = "run.lock";
/// As many files that were not believed are kept, the newest with the lowest number.
const SET_ASIDE: [&str; 3] =
    ["servers.json.corrupt-1", "servers.json.corrupt-2", "servers.json.corrupt-3"];
/// Twice what the most servers with the most children need.
const LARGEST: u64 = 64 << 20;

/// Why a state directory is not used.
#[derive(Debug, Error)]
pub enum StateError {
    /// It is not there and cannot be made, is no directory, or may not be written.
    #[error("{}: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// As root: somebody else could put there what he likes.
    #[error(
        "{}: must be root's, and writable by nobody else; is user {owner}'s, with mode {mode:04o}",
        path.display()
    )]
    Exposed {
        /// The directory, one above it, or a symbolic link on the way.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// Another run has the lock.
    #[error("{}: another gracekeeper uses it", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// A state directory, which others may use too.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    folder: OwnedFd,
}

/// A state directory that nobody else uses as long as this value lives.
#[derive(Debug)]
pub struct StateDirectory {
    folder: Folder,
    _lock: OwnedFd,
}

impl Folder {
    /// Opens the directory; makes it if only itself is missing.
    pub fn make(path: &Path) -> Result<Self, StateError> {
        let named = absolute(path)?;
        if let (Some(above), Some(name)) = (named.parent(), named.file_name()) {
            match DirBuilder::new().mode(0o700).create(reach(path, above, trusted_way)?.join(name))
            {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(unusable(path, error));
                }
                _ => {}
            }
        }
        Self::open(path)
    }

    /// Opens the directory, which must be there; as root, only if nobody else can write there or
    /// could put another one in its place.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let reached = reach(path, &absolute(path)?, trusted_directory)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(reached, flags, Mode::empty()).map_err(|no| unusable(path, no.into()))?;
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock, at once or not at all.
    pub fn lock(self) -> Result<StateDirectory, StateError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |errno: Errno| unusable(&self.path, errno.into());
        let mode = Mode::RUSR | Mode::WUSR;
        let lock = openat(&self.folder, LOCK, flags, mode).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(StateDirectory { folder: self, _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(StateError::Locked { path: self.path }),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// What the last run left; `None` if there was none.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, SERVERS, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            file => File::from(file?),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if metadata.len() > LARGEST {
            return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl StateDirectory {
    /// The directory.
    #[must_use]
    pub const fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Replaces what is kept. Whenever this program or the host is cut off, the old or the new
    /// content is there, whole.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let folder = &self.folder.folder;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(folder, SERVERS_NEW, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        let whole = file.write_all(bytes).and_then(|()| file.sync_all());
        whole.inspect_err(|_| {
            // A disk that is full needs the room.
            let _ = unlinkat(folder, SERVERS_NEW, AtFlags::empty());
        })?;
        renameat(folder, SERVERS_NEW, folder, SERVERS)?;
        Ok(fsync(folder)?)
    }

    /// Puts what is not believed out of the way; returns its new name.
    pub fn set_aside(&self) -> io::Result<&'static str> {
        let folder = &self.folder.folder;
        for names in SET_ASIDE.windows(2).rev() {
            if let [newer, older] = names {
                // There need not be as many.
                let _ = renameat(folder, *newer, folder, *older);
            }
        }
        let [newest, ..] = SET_ASIDE;
        renameat(folder, SERVERS, folder, newest)?;
        Ok(newest)
    }
}

fn unusable(path: &Path, source: io::Error) -> StateError {
    StateError::Unusable { path: path.to_owned(), source }
}

fn absolute(path: &Path) -> Result<PathBuf, StateError> {
    std::path::absolute(path).map_err(|source| unusable(path, source))
}

/// Where a directory is, as root only if root alone could change that: then the answer holds.
/// `path` is what is told of.
fn reach(
    path: &Path,
    directory: &Path,
    trusted: fn(&Path, u32) -> Result<PathBuf, Distrust>,
) -> Result<PathBuf, StateError> {
    if !geteuid().is_root() {
        return Ok(directory.to_owned());
    }
    trusted(directory, 0).map_err(|distrust| match distrust {
        Distrust::Exposed { path, mode, owner } => StateError::Exposed { path, owner, mode },
        Distrust::Unseen { source, .. } => unusable(path, source),
        Distrust::NotAFile { .. } => unusable(path, Errno::NOTDIR.into()),
        Distrust::Nowhere { .. } => unusable(path, Errno::LOOP.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    };

    use super::*;

    fn locked(path: &Path) -> StateDirectory {
        Folder::make(path).unwrap().lock().unwrap()
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert!(matches!(Folder::open(&path), Err(StateError::Unusable { .. })));
        let state = locked(&path);
        assert_eq!(state.folder().path(), path);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        let too_deep = Folder::make(&directory.path().join("a/b")).unwrap_err();
        assert!(too_deep.to_string().contains("No such file"), "{too_deep}");
    }

    #[test]
    fn what_was_written_last_is_read_and_nobody_else_can() {
        let directory = tempfile::tempdir().unwrap();
        let state = locked(directory.path());
        assert_eq!(state.folder().read().unwrap(), None);
        state.write(b"one").unwrap();
        state.write(b"two").unwrap();
        assert_eq!(state.folder().read().unwrap(), Some(b"two".to_vec()));
        let file = fs::metadata(directory.path().join(SERVERS)).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o600);
        assert!(!directory.path().join(SERVERS_NEW).exists());
    }

    #[test]
    fn one_run_has_the_lock_as_long_as_it_lives() {
        let directory = tempfile::tempdir().unwrap();
        let first = locked(directory.path());
        let second = Folder::open(directory.path()).unwrap().lock();
        assert!(matches!(second, Err(StateError::Locked { .. })));
        drop(first);
        locked(directory.path());
    }

    #[test]
    fn of_what_was_set_aside_the_newest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let state = locked(directory.path());
        for content in ["1", "2", "3", "4"] {
            state.write(content.as_bytes()).unwrap();
            assert_eq!(state.set_aside().unwrap(), SET_ASIDE[0]);
        }
        let kept = SET_ASIDE.map(|name| fs::read_to_string(directory.path().join(name)).unwrap());
        assert_eq!(kept, ["4", "3", "2"]);
        assert!(state.set_aside().is_err(), "there is none");
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let state = locked(directory.path());
        fs::create_dir(directory.path().join(SERVERS)).unwrap();
        assert!(state.folder().read().is_err());
        state.set_aside().unwrap();
        symlink("/dev/zero", directory.path().join(SERVERS)).unwrap();
        assert!(state.folder().read().is_err());
    }

    #[test]
    fn what_others_may_write_is_used_unless_by_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        Folder::make(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
        let opened = Folder::open(&path).map_err(|error| error.to_string());
        if !geteuid().is_root() {
            eprintln!("NOT TESTED, as this is not root: that root refuses what others may write");
            opened.unwrap();
            return;
        }
        let refusal = opened.unwrap_err();
        assert!(refusal.ends_with("is user 0's, with mode 0770"), "{refusal}");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Folder::open(&path), Err(StateError::Exposed { mode: 0o777, .. })));
    }

    #[test]
    fn root_goes_through_nothing_of_somebody_elses() {
        const NOBODY: Option<u32> = Some(65534);
        let directory = tempfile::tempdir().unwrap();
        let above = directory.path().join("x");
        let (path, link) = (above.join("gk"), directory.path().join("link"));
        fs::create_dir(&above).unwrap();
        symlink(&above, &link).unwrap();
        locked(&path);
        locked(&link.join("gk"));
        if chown(&path, NOBODY, None).is_err() {
            eprintln!("NOT TESTED, as this is not root: that root trusts no directory of others");
            assert!(!geteuid().is_root());
            return;
        }
        let refused = |path: &Path, named: &Path| {
            for opened in [Folder::open(path), Folder::make(path)] {
                let error = opened.unwrap_err();
                let StateError::Exposed { path, owner: 65534, .. } = error else {
                    panic!("{error}")
                };
                assert_eq!(path, named);
            }
        };
        refused(&path, &path);
        chown(&path, Some(0), None).unwrap();
        chown(&above, NOBODY, None).unwrap();
        refused(&path, &above);
        refused(&above.join("new"), &above);
        assert!(!above.join("new").exists(), "nothing is made there");
        chown(&above, Some(0), None).unwrap();
        lchown(&link, NOBODY, None).unwrap();
        refused(&link.join("gk"), &link);
        Folder::open(&path).unwrap();
    }
}
