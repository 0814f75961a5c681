//! Which file an error log is: asked without opening it, opened only if it is a regular file.

use std::{
    fs::{File, Metadata},
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{
    model::{process::ProcessId, source::Why},
    observe::process_table::{ProcessTable, why},
};

/// A file, whatever its name; nobody else's as long as somebody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// A regular file that was found and is not opened yet.
#[derive(Debug)]
pub struct Place {
    found: File,
    id: FileId,
}

impl Place {
    /// What lies at a path; `Invalid` if that is a FIFO, a device or anything else that is no
    /// regular file, or a loop of links.
    pub fn at(path: &Path) -> Result<Self, Why> {
        // Opened like this not even a FIFO waits, and no driver hears of it.
        let found = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(reason)?;
        let found = File::from(found);
        let id = FileId::of(&found)?;
        Ok(Self { found, id })
    }

    /// What a parent's standard error is; `Invalid` if that is no file: a piped log, syslog.
    pub fn of_parent(table: &ProcessTable, parent: ProcessId) -> Result<Self, Why> {
        let is_there = || match table.row(parent.pid) {
            Ok(row) if row.id == parent => Ok(()),
            Ok(_) => Err(Why::Missing),
            Err(why) => Err(why),
        };
        is_there()?;
        let place = Self::at(&table.path(parent.pid, "fd/2"));
        // The number may have changed hands between the two.
        is_there()?;
        place
    }

    /// Which file it is.
    #[must_use]
    pub const fn id(&self) -> FileId {
        self.id
    }

    /// Opens that very file for reading.
    pub fn open(&self) -> Result<File, Why> {
        let path = own_descriptor(&self.found);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).map(File::from).map_err(reason)
    }
}

impl FileId {
    /// Which file this is; `Invalid` if it is no regular file.
    pub fn of(file: &File) -> Result<Self, Why> {
        let metadata = file.metadata().map_err(|error| why(&error))?;
        if metadata.is_file() { Ok(Self::new(&metadata)) } else { Err(Why::Invalid) }
    }

    fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The name that an open file always has.
pub(super) fn own_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn reason(error: Errno) -> Why {
    match error {
        Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO => Why::Invalid,
        Errno::NOTDIR => Why::Missing,
        error => why(&error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::symlink, net::UnixListener},
    };

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;
    use crate::model::process::Pid;

    fn refusal(path: &Path) -> Why {
        Place::at(path).map(|place| place.id()).unwrap_err()
    }

    #[test]
    fn only_a_regular_file_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        symlink(path("loop"), path("loop")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        for name in ["fifo", "socket", "loop", "zero", "."] {
            assert_eq!(refusal(&path(name)), Why::Invalid, "{name}");
        }
        assert_eq!(refusal(&path("nothing")), Why::Missing);
        fs::write(path("error_log"), "").unwrap();
        assert_eq!(refusal(&path("error_log/below")), Why::Missing);
        symlink(path("error_log"), path("link")).unwrap();
        let place = Place::at(&path("link")).unwrap();
        assert_eq!(place.id(), Place::at(&path("error_log")).unwrap().id());
        fs::remove_file(path("error_log")).unwrap();
        assert_eq!(FileId::of(&place.open().unwrap()), Ok(place.id()), "the very file");
    }

    #[test]
    fn a_process_that_ended_has_no_log() {
        let table = ProcessTable::new("/proc".into());
        let own = table.row(Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap()).unwrap();
        let other = ProcessId { started: crate::model::time::Uptime::from_micros(1), ..own.id };
        assert_eq!(Place::of_parent(&table, other).map(|it| it.id()), Err(Why::Missing));
    }
}
