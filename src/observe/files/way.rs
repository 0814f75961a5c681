//! Where a path leads, link by link: whatever changes on the way changes the file.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::places::Places;
use crate::{file_stamp::FileStamp, model::source::Why, trusted_path::is_exposed};

/// As the kernel's own limit.
const MOST_LINKS: usize = 40;

/// What a path leads to.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// Something; no link.
    There(Metadata),
    /// Nothing. The nearest directory that there is was written at this time, in microseconds
    /// since the epoch.
    Missing(i64),
    /// That cannot be told.
    Unseen(Why),
}

/// The way to a file.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// As far as it was gone: a path over no link.
    pub(super) reached: PathBuf,
    /// What is there.
    pub(super) end: End,
    /// When the youngest link on it was made, or another directory put in the place of one on it,
    /// in microseconds since the epoch.
    pub(super) linked: Option<i64>,
    /// Others than root can change where it leads.
    pub(super) is_exposed: bool,
    links: usize,
}

/// Directories that were put in the place of others: what is in them keeps its own stamps.
#[derive(Debug, Default)]
pub(super) struct Swaps(BTreeMap<PathBuf, Swap>);

#[derive(Debug)]
struct Swap {
    identity: (u64, u64),
    /// When it came there, in microseconds since the epoch; `None` if it was there from the first.
    came: Option<i64>,
    /// It was asked for since the last look.
    is_asked: bool,
}

impl Swaps {
    /// When this directory came there, if another one was there before.
    fn came(&mut self, path: &Path, metadata: &Metadata) -> Option<i64> {
        let identity = identity(metadata);
        let Some(known) = self.0.get_mut(path) else {
            let swap = Swap { identity, came: None, is_asked: true };
            self.0.insert(path.to_owned(), swap);
            return None;
        };
        if known.identity != identity {
            // To be renamed is a change of it.
            known.came = Some(FileStamp::read(metadata).changed_at());
            known.identity = identity;
        }
        known.is_asked = true;
        known.came
    }

    /// Whatever comes there will not be what was there before.
    fn miss(&mut self, path: &Path) {
        if let Some(known) = self.0.get_mut(path) {
            known.is_asked = true;
        }
    }

    /// The next look begins: what was not asked for in this one is forgotten.
    pub(super) fn end(&mut self) {
        self.0.retain(|_, known| std::mem::take(&mut known.is_asked));
    }
}

/// Ways that were gone in one look; what counts on them is noted.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// What is remembered from one look to the next.
    pub(super) swaps: Swaps,
    /// By directory, as it was named: many files lie in one.
    directories: BTreeMap<PathBuf, Way>,
    /// What may change where they lead.
    pub(super) places: Places,
}

impl Ways {
    /// Those of the look after another one.
    pub(super) fn after(swaps: Swaps) -> Self {
        Self { swaps, ..Self::default() }
    }

    /// Goes the way of an absolute path.
    pub(super) fn to(&mut self, path: &Path) -> Way {
        if !path.is_absolute() {
            return Way::from_root(End::Unseen(Why::Invalid));
        }
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return self.go(Way::root(), names(path));
        };
        let way = if let Some(way) = self.directories.get(directory) {
            way.clone()
        } else {
            let way = self.go(Way::root(), names(directory));
            self.directories.insert(directory.to_owned(), way.clone());
            way
        };
        self.go(way, [name.to_owned()].into())
    }

    /// The same, of a path that counts itself.
    pub(super) fn heard(&mut self, path: &Path) -> Way {
        let way = self.to(path);
        if matches!(way.end, End::There(_)) {
            self.places.add(&way.reached);
        }
        way
    }

    fn go(&mut self, mut way: Way, mut ahead: VecDeque<OsString>) -> Way {
        while let Some(name) = ahead.pop_front() {
            let End::There(here) = &way.end else { break };
            if !here.is_dir() {
                self.places.add(&way.reached);
                way.end = End::Missing(FileStamp::read(here).changed_at());
                break;
            }
            if name == ".." {
                way.reached.pop();
                way.end = look(&way.reached, 0);
                continue;
            }
            let written = FileStamp::read(here).modified_at();
            let next = way.reached.join(&name);
            match look(&next, written) {
                End::There(metadata) if metadata.is_symlink() => {
                    self.places.add_name(&way.reached, &name);
                    way.follow(&next, &metadata, &mut ahead);
                }
                End::There(metadata) => {
                    if metadata.is_dir() {
                        way.linked = way.linked.max(self.swaps.came(&next, &metadata));
                    }
                    way.step(next, metadata);
                }
                nothing @ (End::Missing(_) | End::Unseen(_)) => {
                    self.places.add_name(&way.reached, &name);
                    self.swaps.miss(&next);
                    if matches!(nothing, End::Unseen(_)) {
                        // A directory that may not be read is not watched, but the one above.
                        self.places.add(&way.reached);
                    }
                    way.end = nothing;
                }
            }
        }
        way
    }
}

impl Way {
    fn from_root(end: End) -> Self {
        Self { reached: PathBuf::from("/"), end, linked: None, is_exposed: false, links: 0 }
    }

    fn root() -> Self {
        let mut way = Self::from_root(look(Path::new("/"), 0));
        if let End::There(metadata) = &way.end {
            way.is_exposed = is_exposed(metadata, 0);
        }
        way
    }

    /// When what lies there last changed, or the way to it, in microseconds since the epoch.
    pub(super) fn changed(&self) -> Option<i64> {
        let end = match &self.end {
            End::There(metadata) => FileStamp::read(metadata).changed_at(),
            End::Missing(written) => *written,
            End::Unseen(_) => return None,
        };
        Some(self.linked.map_or(end, |linked| linked.max(end)))
    }

    fn step(&mut self, next: PathBuf, metadata: Metadata) {
        self.is_exposed |= is_exposed(&metadata, 0);
        self.reached = next;
        self.end = End::There(metadata);
    }

    fn follow(&mut self, link: &Path, metadata: &Metadata, ahead: &mut VecDeque<OsString>) {
        self.is_exposed |= is_exposed(metadata, 0);
        self.linked = self.linked.max(Some(FileStamp::read(metadata).changed_at()));
        self.links += 1;
        if self.links > MOST_LINKS {
            self.end = End::Unseen(Why::Invalid);
            return;
        }
        match fs::read_link(link) {
            Ok(target) => {
                if target.is_absolute() {
                    self.reached = PathBuf::from("/");
                    self.end = look(&self.reached, 0);
                }
                for name in names(&target).into_iter().rev() {
                    ahead.push_front(name);
                }
            }
            Err(error) => self.end = nothing(&error, 0),
        }
    }
}

fn look(path: &Path, written: i64) -> End {
    match fs::symlink_metadata(path) {
        Ok(metadata) => End::There(metadata),
        Err(error) => nothing(&error, written),
    }
}

fn nothing(error: &io::Error, written: i64) -> End {
    let why = why(error);
    if why == Why::Missing { End::Missing(written) } else { End::Unseen(why) }
}

/// Why the operating system would not say.
pub(super) fn why(error: &io::Error) -> Why {
    let is_one_of = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
    if is_one_of(&[io::ErrorKind::PermissionDenied]) {
        Why::Permission
    } else if is_one_of(&[io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]) {
        Why::Missing
    } else if is_one_of(&[io::ErrorKind::InvalidFilename, io::ErrorKind::InvalidInput]) {
        Why::Invalid
    } else {
        Why::Other
    }
}

/// Which directory it is, whatever its name.
pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The names of a path, `..` among them.
fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn whatever_lies_on_the_way_counts() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().canonicalize().unwrap().join(path);
        fs::create_dir_all(at("real/conf")).unwrap();
        fs::write(at("real/conf/a"), "").unwrap();
        symlink("real", at("link")).unwrap();
        symlink("../../link/conf/a", at("real/conf/b")).unwrap();
        symlink(at("nowhere/x"), at("c")).unwrap();
        symlink("circle", at("circle")).unwrap();
        let mut ways = Ways::default();
        let way = ways.heard(&at("link/conf/b"));
        assert_eq!(way.reached, at("real/conf/a"));
        assert!(matches!(way.end, End::There(_)));
        assert!(way.linked.is_some() && way.changed() >= way.linked);
        let mut expected = Places::default();
        for path in ["link", "real/conf/a", "real/conf/b"] {
            expected.add(&at(path));
        }
        assert_eq!(ways.places, expected);
        let way = ways.heard(&at("c"));
        assert!(matches!(way.end, End::Missing(written) if written > 0), "{way:?}");
        assert!(ways.places.concern(&at("c")) && ways.places.concern(&at("nowhere")));
        let way = ways.heard(&at("circle"));
        assert!(matches!(way.end, End::Unseen(Why::Invalid)), "{way:?}");
        let way = ways.heard(&at("real/conf/a/b"));
        assert!(matches!(way.end, End::Missing(_)), "{way:?}");
        assert!(matches!(ways.to(Path::new("a")).end, End::Unseen(Why::Invalid)));
    }

    #[test]
    fn a_directory_in_the_place_of_another_makes_what_is_in_it_younger() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        for name in ["conf.d/sub", "other/sub"] {
            fs::create_dir_all(at(name)).unwrap();
            fs::write(at(name).join("a"), "").unwrap();
        }
        let mut swaps = Swaps::default();
        let mut look = || {
            let mut ways = Ways::after(std::mem::take(&mut swaps));
            let way = ways.to(&at("conf.d/sub/a"));
            swaps = ways.swaps;
            swaps.end();
            way
        };
        let before = look();
        assert_eq!((before.linked, look().linked), (None, None));
        fs::rename(at("conf.d"), at("old")).unwrap();
        assert!(matches!(look().end, End::Missing(_)));
        fs::rename(at("other"), at("conf.d")).unwrap();
        let renamed = FileStamp::of(&at("conf.d")).map(|it| it.changed_at());
        for _ in 0..2 {
            let after = look();
            assert_eq!(after.linked, renamed);
            assert!(after.changed() >= renamed && after.changed() > before.changed());
        }
    }

    #[test]
    fn a_way_past_a_name_that_is_too_long_is_not_known() {
        let long = Path::new("/").join("x".repeat(300));
        assert!(matches!(Ways::default().to(&long).end, End::Unseen(Why::Invalid)));
    }

    #[test]
    fn what_others_can_change_on_the_way_is_exposed() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(open.join("a"), "").unwrap();
        assert!(Ways::default().to(&open.join("a")).is_exposed);
        assert!(Ways::default().to(&open.join("missing")).is_exposed);
        assert!(!Ways::default().to(Path::new("/proc/version")).is_exposed);
    }
}
