//! Where something has to happen to make a difference: names in directories, as few as there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    ops::Bound,
    path::{Path, PathBuf},
};

use glob::Pattern;

use super::wildcard::matches;

/// Directories, reached over no symbolic link, and what counts in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(BTreeMap<PathBuf, Interest>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interest {
    names: BTreeSet<OsString>,
    patterns: BTreeSet<Pattern>,
    is_whole: bool,
}

impl Places {
    /// This path counts.
    pub(super) fn add(&mut self, path: &Path) {
        if let (Some(directory), Some(name)) = (path.parent(), path.file_name()) {
            self.add_name(directory, name);
        }
    }

    /// This name counts, in this directory.
    pub(super) fn add_name(&mut self, directory: &Path, name: &OsStr) {
        let names = &mut self.interest(directory).names;
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
    }

    /// Each name counts that matches.
    pub(super) fn add_matching(&mut self, directory: &Path, pattern: &Pattern) {
        self.interest(directory).patterns.insert(pattern.clone());
    }

    /// Each name counts.
    pub(super) fn add_whole(&mut self, directory: &Path) {
        self.interest(directory).is_whole = true;
    }

    fn interest(&mut self, directory: &Path) -> &mut Interest {
        self.0.entry(directory.to_owned()).or_default()
    }

    /// Nothing counts.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All directories.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// The directory is one of them.
    pub(super) fn has(&self, directory: &Path) -> bool {
        self.0.contains_key(directory)
    }

    /// What happened to this path may make a difference.
    pub(super) fn concern(&self, path: &Path) -> bool {
        let named = || {
            let interest = self.0.get(path.parent()?)?;
            let name = path.file_name()?;
            let is_matching = |pattern| matches(pattern, name);
            let counts = interest.is_whole
                || interest.names.contains(name)
                || interest.patterns.iter().any(is_matching);
            counts.then_some(())
        };
        named().is_some() || self.are_below(path)
    }

    /// This path is one of the directories, or one above them.
    pub(super) fn are_below(&self, path: &Path) -> bool {
        let from = (Bound::Included(path), Bound::Unbounded);
        self.0.range::<Path, _>(from).next().is_some_and(|(first, _)| first.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::files::wildcard::wildcard;

    #[test]
    fn only_what_was_named_makes_a_difference() {
        let mut places = Places::default();
        places.add(Path::new("/etc/httpd/httpd.conf"));
        let pattern = wildcard(OsStr::new("*.conf")).unwrap();
        places.add_matching(Path::new("/etc/httpd/conf.d"), &pattern);
        places.add_whole(Path::new("/srv/all"));
        for path in [
            "/etc/httpd/httpd.conf",
            "/etc/httpd/conf.d/a.conf",
            "/srv/all/.hidden",
            "/etc/httpd/conf.d",
            "/etc",
        ] {
            assert!(places.concern(Path::new(path)), "{path}");
        }
        for path in [
            "/etc/httpd/access.log",
            "/etc/httpd/conf.d/a.conf~",
            "/etc/httpd/conf.d/.a.conf.swp",
            "/etc/httpd/conf",
            "/srv/all/a/b",
            "/usr",
        ] {
            assert!(!places.concern(Path::new(path)), "{path}");
        }
        assert!(places.are_below(Path::new("/etc/httpd")));
        assert!(!places.are_below(Path::new("/etc/httpd/httpd.conf")));
    }
}
