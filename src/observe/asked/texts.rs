//! The text of every file that a configuration is made of, each opened once.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::{decode::directives::Files, observe::regular_file};

/// A configuration that is larger is not read.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    root: Option<PathBuf>,
    read: BTreeMap<PathBuf, Vec<u8>>,
    is_whole: bool,
}

impl Texts {
    /// Reads these files, which lie below any directory; the server's root is for what is only
    /// looked for.
    pub(super) fn read(files: &[PathBuf], root: Option<PathBuf>) -> Self {
        let mut left = LARGEST;
        let mut texts = Self { root, read: BTreeMap::new(), is_whole: !files.is_empty() };
        for file in files {
            let text = regular_file::read(file, left).ok().flatten().map(|(text, _)| text);
            let bytes = text.as_ref().map_or(0, |text| text.len().try_into().unwrap_or(u64::MAX));
            left = left.saturating_sub(bytes);
            // What fills it may be the beginning of more.
            match text.filter(|_| left > 0) {
                Some(text) => drop(texts.read.insert(file.clone(), text)),
                None => texts.is_whole = false,
            }
            if left == 0 {
                break;
            }
        }
        texts
    }

    /// All of them, if all could be read.
    pub(super) fn all(&self) -> Option<impl Iterator<Item = &[u8]>> {
        self.is_whole.then(|| self.read.values().map(Vec::as_slice))
    }
}

impl Files for Texts {
    fn text(&self, path: &Path) -> Option<&[u8]> {
        self.read.get(path).map(Vec::as_slice)
    }

    fn exists(&self, name: &[u8]) -> Option<bool> {
        let name = Path::new(OsStr::from_bytes(name));
        self.root.as_deref().unwrap_or(Path::new("/")).join(name).try_exists().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a"), "Listen 80\n").unwrap();
        let texts = Texts::read(&[path("a")], Some(directory.path().to_owned()));
        assert_eq!(texts.text(&path("a")), Some(&b"Listen 80\n"[..]));
        assert_eq!(texts.all().map(Iterator::count), Some(1));
        assert_eq!((texts.exists(b"a"), texts.exists(b"b")), (Some(true), Some(false)));
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(path("large"), vec![b'#'; 16 << 20]).unwrap();
        for other in ["fifo", "large", "gone", "."] {
            let texts = Texts::read(&[path("a"), path(other)], None);
            assert!(texts.all().is_none() && texts.text(&path(other)).is_none(), "{other}");
        }
        assert!(Texts::read(&[], None).all().is_none());
    }
}
