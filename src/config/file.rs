//! Reads a configuration file: never waits for one, never reads more than a configuration, and as
//! root trusts only what root alone can change.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, StatVfsMountFlags, open, statvfs},
    process::geteuid,
};

use super::error::ConfigError;
use crate::trusted_path::Rights;

/// The largest configuration: one with every key of this version is a thousandth of it.
const LARGEST: u64 = 1 << 20;

/// Reads a configuration file's bytes.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    // Opening a FIFO without O_NONBLOCK waits for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(ConfigError::NotAFile { path: path.to_owned(), is: kind(&metadata) });
    }
    if geteuid().is_root() {
        distrust(path, &metadata)?;
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that grew, or has no size, as those of /proc.
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Refuses what others than root could change.
///
/// The file that was opened is what counts. Whoever may write its directory can at most put another
/// file of root's in its place; that everybody can is refused all the same.
fn distrust(path: &Path, file: &Metadata) -> Result<(), ConfigError> {
    let rights = Rights::of(file);
    if rights.let_others_write(0) {
        let Rights { mode, owner } = rights;
        return Err(ConfigError::Exposed { path: path.to_owned(), mode, owner });
    }
    for directory in directories(path).map_err(|source| unreadable(path, source))? {
        let metadata = fs::metadata(&directory).map_err(|source| unreadable(path, source))?;
        let rights = Rights::of(&metadata);
        if rights.let_everybody_replace() && !is_read_only(&directory) {
            let mode = rights.mode;
            return Err(ConfigError::ExposedDirectory { path: path.to_owned(), directory, mode });
        }
    }
    Ok(())
}

/// The directory of the path as named and, behind symbolic links, of the file itself.
fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let named = std::path::absolute(path)?;
    let resolved = path.canonicalize()?;
    let mut directories: Vec<PathBuf> =
        [named.parent(), resolved.parent()].into_iter().flatten().map(Path::to_owned).collect();
    directories.dedup();
    Ok(directories)
}

/// Kubernetes mounts a `ConfigMap` as a directory of mode 0777, read-only.
fn is_read_only(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a device"
    }
}

fn unreadable(path: &Path, source: io::Error) -> ConfigError {
    ConfigError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_open_to_everybody_unless_it_is_sticky() {
        let is_open = |mode| Rights { mode, owner: 0 }.let_everybody_replace();
        assert!(is_open(0o777));
        assert!(!is_open(0o1777), "as /tmp");
        assert!(!is_open(0o775));
        assert!(!is_open(0o700));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let refusal = |path: &str| read(Path::new(path)).unwrap_err().to_string();
        assert_eq!(refusal("/"), "read /: must be a regular file, is a directory");
        assert_eq!(refusal("/dev/null"), "read /dev/null: must be a regular file, is a device");
        assert_eq!(
            refusal("/nonexistent/x.toml"),
            "read /nonexistent/x.toml: no such file or directory"
        );
    }

    #[test]
    fn a_file_of_1_mib_is_read_and_a_longer_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.toml");
        fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1 << 20);
        fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(matches!(read(&path), Err(ConfigError::TooLarge { .. })));
    }
}
