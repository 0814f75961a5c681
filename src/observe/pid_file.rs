//! The pid file: who it names, read without trusting what lies at its path.

use std::{fs::Metadata, io, os::unix::fs::MetadataExt, path::Path};

use thiserror::Error;

use super::regular_file;
use crate::{
    decode::pid_file::{self as decode, PidFileError},
    model::{process::Pid, snapshot::PidFileStamp, time::Timestamp},
};

/// Why a pid file could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The path could not be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is a directory, a FIFO, a socket or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Its content names nobody.
    #[error("{0}")]
    Content(#[from] PidFileError),
}

/// A pid file that names somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PidFile {
    /// Whom.
    pub pid: Pid,
    /// When it was written.
    pub stamp: PidFileStamp,
}

/// Reads the pid file: never blocks on a FIFO, never reads more than a number needs.
pub fn read(path: &Path) -> Result<PidFile, ReadError> {
    let limit = u64::try_from(decode::LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    let (content, metadata) = regular_file::read(path, limit)?.ok_or(ReadError::NotAFile)?;
    Ok(PidFile { pid: decode::pid(&content)?, stamp: stamp(&metadata) })
}

fn stamp(metadata: &Metadata) -> PidFileStamp {
    let micros = metadata.mtime().saturating_mul(1_000_000);
    let written = micros.saturating_add(metadata.mtime_nsec() / 1000);
    PidFileStamp { written: Timestamp::from_micros(written), inode: metadata.ino() }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn message(path: &Path) -> String {
        read(path).unwrap_err().to_string()
    }

    #[test]
    fn a_pid_file_names_somebody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("httpd.pid");
        fs::write(&path, "4711\n").unwrap();
        assert_eq!(read(&path).unwrap().pid.as_raw(), 4711);
    }

    #[test]
    fn whatever_else_lies_there_names_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert!(message(&path("none")).contains("No such file"));
        assert_eq!(message(directory.path()), "it is not a regular file");
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(message(&path("fifo")), "it is not a regular file");
        assert_eq!(message(Path::new("/dev/zero")), "it is not a regular file");
        symlink(path("loop"), path("loop")).unwrap();
        assert!(message(&path("loop")).contains("Too many levels"));
        fs::write(path("huge"), vec![b'1'; 10_000_000]).unwrap();
        assert_eq!(message(&path("huge")), "it is longer than 64 bytes");
        fs::write(path("empty"), "").unwrap();
        assert_eq!(message(&path("empty")), "it is empty");
    }
}
