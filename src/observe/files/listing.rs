//! The files that one `Include` names, as httpd finds them.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, DirEntry},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use glob::Pattern;

use super::{
    content::{modified, stamp},
    way::{End, Way, Ways, identity, why},
    wildcard::{matches, wildcard},
};
use crate::{
    decode::digest::digest,
    model::{
        files::{Content, Listing},
        source::Why,
    },
    trusted_path::Rights,
};

/// As many names as are kept of one pattern.
const MOST_NAMES: usize = 50_000;
/// As many entries of directories as are gone through, whether they match or not.
const MOST_ENTRIES: usize = 500_000;
/// Directories in each other; httpd itself follows 20.
const MOST_LEVELS: usize = 64;

/// What a pattern names now.
#[derive(Debug)]
pub(super) struct Named {
    /// As one.
    pub(super) listing: Listing,
    /// The files of these names.
    pub(super) names: BTreeSet<PathBuf>,
    /// Where others than root could put files that it would name.
    pub(super) exposed: BTreeSet<PathBuf>,
}

/// Finds what a pattern names; `ways` notes what counts for it.
pub(super) fn listing(pattern: &Path, ways: &mut Ways) -> Named {
    let components = components(pattern);
    let wants_directory = pattern.as_os_str().as_bytes().ends_with(b"/");
    let mut search = Search {
        ways,
        wants_directory,
        names: BTreeSet::new(),
        exposed: BTreeSet::new(),
        changed: None,
        entries: 0,
    };
    let content = match search.descend(Path::new("/"), &components) {
        Ok(()) => search.digest(),
        Err(why) => Content::Unseen(why),
    };
    let listing = Listing { content, changed: stamp(search.changed) };
    Named { listing, names: search.names, exposed: search.exposed }
}

enum Wanted {
    Plain(OsString),
    Wild(Pattern),
}

fn components(pattern: &Path) -> Vec<Wanted> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    let wanted = |name: OsString| wildcard(&name).map_or(Wanted::Plain(name), Wanted::Wild);
    pattern.components().filter_map(name).map(wanted).collect()
}

struct Search<'a> {
    ways: &'a mut Ways,
    /// A slash at the end lets files alone.
    wants_directory: bool,
    names: BTreeSet<PathBuf>,
    exposed: BTreeSet<PathBuf>,
    /// In microseconds since the epoch.
    changed: Option<i64>,
    entries: usize,
}

impl Search<'_> {
    fn descend(&mut self, here: &Path, wanted: &[Wanted]) -> Result<(), Why> {
        let Some((first, rest)) = wanted.split_first() else {
            return self.take_named(here);
        };
        match first {
            Wanted::Plain(name) => self.descend(&here.join(name), rest),
            Wanted::Wild(pattern) => self.descend_into_each(here, pattern, rest),
        }
    }

    fn descend_into_each(
        &mut self,
        here: &Path,
        pattern: &Pattern,
        rest: &[Wanted],
    ) -> Result<(), Why> {
        let way = self.ways.heard(here);
        if self.directory(&way)?.is_none() {
            return Ok(());
        }
        self.ways.places.add_matching(&way.reached, pattern);
        for entry in self.read(&way.reached)? {
            if !matches(pattern, &entry.file_name()) {
                continue;
            }
            let path = here.join(entry.file_name());
            match (is_directory(&entry), rest) {
                (true, []) => self.take_below(&path, &mut Vec::new())?,
                (true, rest) => self.descend(&path, rest)?,
                (false, []) if !self.wants_directory => self.take(path)?,
                (false, _) => {}
            }
        }
        Ok(())
    }

    /// What is named without a wildcard at its end: a file, or all below a directory.
    fn take_named(&mut self, path: &Path) -> Result<(), Why> {
        let way = self.ways.heard(path);
        match &way.end {
            End::There(metadata) if metadata.is_dir() => self.take_below(path, &mut Vec::new()),
            End::There(_) if !self.wants_directory => {
                self.changed = self.changed.max(way.changed());
                self.take(path.to_owned())
            }
            End::There(_) | End::Missing(_) | End::Unseen(_) => self.directory(&way).map(|_| ()),
        }
    }

    /// All files below a directory, hidden ones too; `above` are those that lead there.
    fn take_below(&mut self, here: &Path, above: &mut Vec<(u64, u64)>) -> Result<(), Why> {
        let way = self.ways.heard(here);
        let Some(directory) = self.directory(&way)? else { return Ok(()) };
        if above.len() >= MOST_LEVELS || above.contains(&directory) {
            // httpd does not come to an end either.
            return Err(Why::Limit);
        }
        above.push(directory);
        self.ways.places.add_whole(&way.reached);
        for entry in self.read(&way.reached)? {
            let path = here.join(entry.file_name());
            if is_directory(&entry) {
                self.take_below(&path, above)?;
            } else {
                self.take(path)?;
            }
        }
        above.pop();
        Ok(())
    }

    /// Notes when a directory changed, and who can write there; `None` if there is none.
    fn directory(&mut self, way: &Way) -> Result<Option<(u64, u64)>, Why> {
        // A sticky one, as `/tmp`, keeps nobody from putting something there.
        let is_open = |metadata| Rights::of(metadata).let_others_write(0);
        match &way.end {
            End::There(metadata) if !metadata.is_dir() => {}
            End::There(metadata) if !way.is_exposed && !is_open(metadata) => {}
            End::Missing(_) | End::Unseen(_) if !way.is_exposed => {}
            End::There(_) | End::Missing(_) | End::Unseen(_) => {
                self.exposed.insert(way.reached.clone());
            }
        }
        match &way.end {
            End::There(metadata) if metadata.is_dir() => {
                let written = modified(metadata).max(way.linked.unwrap_or(i64::MIN));
                self.changed = self.changed.max(Some(written));
                Ok(Some(identity(metadata)))
            }
            End::There(_) => Ok(None),
            End::Missing(_) => {
                self.changed = self.changed.max(way.changed());
                Ok(None)
            }
            End::Unseen(why) => Err(*why),
        }
    }

    fn read(&mut self, directory: &Path) -> Result<Vec<DirEntry>, Why> {
        let left = MOST_ENTRIES.saturating_sub(self.entries);
        let entries: io::Result<Vec<DirEntry>> =
            fs::read_dir(directory).and_then(|entries| entries.take(left + 1).collect());
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(why(&error)),
        };
        // The directory itself counts too.
        self.entries += entries.len() + 1;
        if self.entries > MOST_ENTRIES { Err(Why::Limit) } else { Ok(entries) }
    }

    fn take(&mut self, path: PathBuf) -> Result<(), Why> {
        self.names.insert(path);
        if self.names.len() > MOST_NAMES { Err(Why::Limit) } else { Ok(()) }
    }

    fn digest(&self) -> Content {
        let names = self.names.iter().map(|name| name.as_os_str().as_bytes());
        Content::Bytes(digest(names.flat_map(|name| [name, b"\0"])))
    }
}

/// Where links lead.
fn is_directory(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => fs::metadata(entry.path()).is_ok_and(|it| it.is_dir()),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            for file in files {
                fs::create_dir_all(tree.at(file).parent().unwrap()).unwrap();
                fs::write(tree.at(file), "").unwrap();
            }
            tree
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn list(&self, pattern: &str) -> Content {
            listing(&self.at(pattern), &mut Ways::default()).listing.content
        }

        fn names(&self, pattern: &str, names: &[&str]) {
            let names: Vec<PathBuf> = names.iter().map(|name| self.at(name)).collect();
            let names = names.iter().map(|name| name.as_os_str().as_bytes());
            let expected = digest(names.flat_map(|name| [name, b"\0"]));
            assert_eq!(self.list(pattern), Content::Bytes(expected), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_names_what_httpd_would_read() {
        let tree = Tree::new(&[
            "conf.d/b.conf",
            "conf.d/a.conf",
            "conf.d/.hidden.conf",
            "conf.d/a.conf~",
            "conf.d/d.conf/.x",
            "vhosts/one/site.conf",
            "vhosts/two/site.conf",
            "vhosts/three",
        ]);
        symlink("../conf.d/none", tree.at("conf.d/z.conf")).unwrap();
        tree.names(
            "conf.d/*.conf",
            &["conf.d/a.conf", "conf.d/b.conf", "conf.d/d.conf/.x", "conf.d/z.conf"],
        );
        tree.names("vhosts/*/site.conf", &["vhosts/one/site.conf", "vhosts/two/site.conf"]);
        tree.names("vhosts/t*/*", &["vhosts/two/site.conf"]);
        tree.names("vhosts", &["vhosts/one/site.conf", "vhosts/three", "vhosts/two/site.conf"]);
        tree.names(
            "conf.d/../vhosts/o*/",
            &["vhosts/../vhosts/one/site.conf"].map(|_| "conf.d/../vhosts/one/site.conf"),
        );
        tree.names("vhosts/three", &["vhosts/three"]);
        for nothing in ["none", "none/*.conf", "conf.d/*.none", "vhosts/three/*"] {
            tree.names(nothing, &[]);
        }
    }

    #[test]
    fn directories_that_lead_in_a_circle_have_an_end() {
        let tree = Tree::new(&["conf.d/a/b/c"]);
        symlink("..", tree.at("conf.d/a/up")).unwrap();
        assert_eq!(tree.list("conf.d"), Content::Unseen(Why::Limit));
        tree.names("conf.d/*/b/c", &["conf.d/a/b/c"]);
        symlink("self", tree.at("self")).unwrap();
        assert_eq!(tree.list("self/*"), Content::Unseen(Why::Invalid));
        let deep = vec!["d"; MOST_LEVELS + 1].join("/");
        fs::create_dir_all(tree.at(&deep)).unwrap();
        assert_eq!(tree.list("d"), Content::Unseen(Why::Limit));
    }

    #[test]
    fn what_counts_for_a_pattern_is_noted() {
        let tree = Tree::new(&["vhosts/one/site.conf"]);
        let at = |path: &str| tree.0.path().canonicalize().unwrap().join(path);
        symlink("vhosts", tree.at("link")).unwrap();
        let mut ways = Ways::default();
        listing(&tree.at("link/*/s*"), &mut ways);
        for path in ["link", "vhosts/new", "vhosts/one/s.conf"] {
            assert!(ways.places.concern(&at(path)), "{path}");
        }
        for path in ["vhosts/one/t.conf", "other"] {
            assert!(!ways.places.concern(&at(path)), "{path}");
        }
        listing(&tree.at("none/x/*.conf"), &mut ways);
        assert!(ways.places.concern(&at("none")) && !ways.places.has(&at("none")));
    }
}
