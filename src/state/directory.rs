//! The directory itself: who has it, and files in it that are whole at any moment.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, fsync, open, openat, renameat},
    io::Errno,
    process::geteuid,
};
use thiserror::Error;

const SERVERS: &str = "servers.json";
const SERVERS_NEW: &str = "servers.json.new";
const LOCK: &str = "run.lock";
/// As many files that were not believed are kept, the newest with the lowest number.
const SET_ASIDE: [&str; 3] =
    ["servers.json.corrupt-1", "servers.json.corrupt-2", "servers.json.corrupt-3"];
/// Twice what the most servers with the most children need.
const LARGEST: u64 = 64 << 20;

/// The group, or everybody, may write.
const OTHERS_MAY_WRITE: u32 = 0o022;
const EVERYBODY_MAY_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

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
        /// The directory, or one above it.
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
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(unusable(path, error))
            }
            _ => Self::open(path),
        }
    }

    /// Opens the directory, which must be there; as root, only if nobody else can write there.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(path, flags, Mode::empty()).map_err(|no| unusable(path, no.into()))?;
        let folder = File::from(folder);
        if geteuid().is_root() {
            distrust(path, &folder)?;
        }
        Ok(Self { path: path.to_owned(), folder: folder.into() })
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
        file.write_all(bytes)?;
        file.sync_all()?;
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

/// Refuses what others than root could change: the directory, and where everybody could put
/// another one in its place.
fn distrust(path: &Path, folder: &File) -> Result<(), StateError> {
    let failed = |source| unusable(path, source);
    let metadata = folder.metadata().map_err(failed)?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if owner != 0 || mode & OTHERS_MAY_WRITE != 0 {
        return Err(StateError::Exposed { path: path.to_owned(), owner, mode });
    }
    let named = std::path::absolute(path).map_err(failed)?;
    let resolved = path.canonicalize().map_err(failed)?;
    for above in [named.parent(), resolved.parent()].into_iter().flatten() {
        let metadata = fs::metadata(above).map_err(failed)?;
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        if mode & EVERYBODY_MAY_WRITE != 0 && mode & STICKY == 0 {
            return Err(StateError::Exposed { path: above.to_owned(), owner, mode });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

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
        std::os::unix::fs::symlink("/dev/zero", directory.path().join(SERVERS)).unwrap();
        assert!(state.folder().read().is_err());
    }

    #[test]
    fn root_does_not_share_it() {
        if !geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        Folder::make(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
        let refusal = Folder::open(&path).unwrap_err().to_string();
        assert!(refusal.ends_with("is user 0's, with mode 0770"), "{refusal}");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert!(matches!(Folder::open(&path), Err(StateError::Exposed { owner: 65534, .. })));
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Folder::open(&path), Err(StateError::Exposed { mode: 0o777, .. })));
    }
}
