//! Files of the host, opened without waiting and read up to a limit.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{decode::error_log::escaped, observe::regular_file};

/// Scripts and configurations are shorter; of what is longer the beginning is read.
const LONGEST: u64 = 1 << 20;
/// Entries of one directory.
const MOST_ENTRIES: usize = 10_000;

/// A file's text, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Text(Vec<u8>),
    /// The beginning of one that is longer than 1 MiB.
    Beginning(Vec<u8>),
    Missing,
    Directory,
    Unread(String),
}

/// Reads a file. Programs are no text.
pub(super) fn read(path: &Path) -> Read {
    match regular_file::read(path, LONGEST + 1) {
        Ok(Some((text, _))) if text.contains(&0) => Read::Unread("is a program".to_owned()),
        Ok(Some((mut text, _))) => {
            let most = usize::try_from(LONGEST).unwrap_or(usize::MAX);
            let is_longer = text.len() > most;
            text.truncate(most);
            if is_longer { Read::Beginning(text) } else { Read::Text(text) }
        }
        Ok(None) if path.is_dir() => Read::Directory,
        Ok(None) => Read::Unread("is no regular file".to_owned()),
        Err(error) if is_missing(&error) => Read::Missing,
        Err(error) => Read::Unread(reason(&error)),
    }
}

/// The text of a file, or as much of it as is read.
pub(super) fn text(path: &Path) -> Option<Vec<u8>> {
    match read(path) {
        Read::Text(text) | Read::Beginning(text) => Some(text),
        Read::Missing | Read::Directory | Read::Unread(_) => None,
    }
}

/// The entries of a directory by name; of none if there is none, and an error in words.
pub(super) fn entries(directory: &Path) -> Result<BTreeSet<PathBuf>, String> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            Ok(entries.take(MOST_ENTRIES).filter_map(|it| Some(it.ok()?.path())).collect())
        }
        Err(error) if is_missing(&error) => Ok(BTreeSet::new()),
        Err(error) => Err(reason(&error)),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// As the operating system has it, without its number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// A path of the host below a root.
pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// A path as the host has it: without the root that it was looked for below.
pub(super) fn shown(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    let path = Path::new("/").join(inner);
    escaped(path.as_os_str().as_encoded_bytes(), 4096)
}

/// A path as a word of a shell's.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@".contains(&byte);
    if text.bytes().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted(Path::new("/srv/a-b.conf")), "/srv/a-b.conf");
        assert_eq!(quoted(Path::new("/srv/a b")), "'/srv/a b'");
        assert_eq!(quoted(Path::new("/srv/';x")), "'/srv/'\\'';x'");
    }
}
