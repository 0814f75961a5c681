//! The private directory: everything that the demonstration writes, gone with it.

use std::{
    env,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
};

use super::DemoError;

/// Directories of killed demonstrations with the same pid are passed over.
const NAMES_TO_TRY: u32 = 100;
/// More than the kernel keeps for a slow client (`tcp_wmem` and `tcp_rmem`, usually 4 and 6 MiB).
const DOWNLOAD_BYTES: u64 = 64 << 20;

/// A directory that is removed on drop.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes it, with what httpd serves in it.
    pub fn make() -> Result<Self, DemoError> {
        let parent = env::temp_dir();
        // httpd and the watching process have other working directories.
        let parent = std::path::absolute(&parent)
            .map_err(|source| DemoError::Write { path: parent, source })?;
        let pid = process::id();
        let mut number = 0;
        let directory = loop {
            let path = parent.join(format!("gracekeeper-demo-{pid}-{number}"));
            // An existing one, or a link, may be anybody's.
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break Self { path },
                Err(error) if is_taken(&error) && number < NAMES_TO_TRY => number += 1,
                Err(source) => return Err(DemoError::Write { path, source }),
            }
        };
        directory.fill().map_err(|source| directory.error(source))?;
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that httpd's user may read too.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, DemoError> {
        let path = self.path.join(name);
        let written =
            fs::write(&path, text).and_then(|()| set_mode(&path, 0o644)).map(|()| path.clone());
        written.map_err(|source| DemoError::Write { path, source })
    }

    fn fill(&self) -> io::Result<()> {
        // httpd's children are another user's if its parent is root's: they pass, and read htdocs.
        set_mode(&self.path, 0o711)?;
        for (name, mode) in [("run", 0o711), ("logs", 0o700), ("htdocs", 0o711)] {
            let path = self.path.join(name);
            fs::create_dir(&path)?;
            set_mode(&path, mode)?;
        }
        let page = self.path.join("htdocs/index.html");
        fs::write(&page, "served\n")?;
        set_mode(&page, 0o644)?;
        // A hole: it takes no room.
        let download = self.path.join("htdocs/download");
        File::create(&download)?.set_len(DOWNLOAD_BYTES)?;
        set_mode(&download, 0o644)
    }

    fn error(&self, source: io::Error) -> DemoError {
        DemoError::Write { path: self.path.clone(), source }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is left in the temporary directory, where such things are.
        drop(fs::remove_dir_all(&self.path));
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

/// Whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_place_and_leaves_nothing() {
        let (one, other) = (Directory::make().unwrap(), Directory::make().unwrap());
        assert_ne!(one.path(), other.path());
        let path = one.path().to_owned();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o711);
        drop(one);
        assert!(!path.exists() && other.path().exists());
    }
}
