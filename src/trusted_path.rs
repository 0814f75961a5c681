//! Whether anybody else could change what a path leads to: asked before a program is run, a
//! script read, or a directory written, on its owner's behalf.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use thiserror::Error;

/// The group, or everybody, may write.
const OTHERS_MAY_WRITE: u32 = 0o022;
const EVERYBODY_MAY_WRITE: u32 = 0o002;
/// In a directory: entries are renamed and removed by their owners only.
const STICKY: u32 = 0o1000;
/// As the kernel's own limit.
const MOST_LINKS: usize = 40;

/// Why a path is not trusted.
#[derive(Debug, Error)]
pub enum Distrust {
    /// It, or something on the way to it, cannot be looked at.
    #[error("look at {path}: {source}")]
    Unseen {
        /// What.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It, or something on the way to it, can be changed by others.
    #[error("others may write {path}: its mode is {mode:04o}, its owner {owner}")]
    Exposed {
        /// What: the file, a directory above it, or a symbolic link.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner's uid.
        owner: u32,
    },
    /// It is no regular file.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// What.
        path: PathBuf,
    },
    /// It does not say where it begins, or leads in a circle.
    #[error("{path} leads nowhere")]
    Nowhere {
        /// The path as it was given.
        path: PathBuf,
    },
}

/// Who may change what lies at a path, as far as its inode tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permission bits, the sticky bit among them.
    pub mode: u32,
    /// The owner's uid.
    pub owner: u32,
}

impl Rights {
    /// Those that were read.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode() & 0o7777, owner: metadata.uid() }
    }

    /// Somebody else than root and `user`, a uid, may write it: group members are others, whoever
    /// they are today.
    #[must_use]
    pub const fn let_others_write(self, user: u32) -> bool {
        self.are_a_strangers(user) || self.mode & OTHERS_MAY_WRITE != 0
    }

    /// Of a directory: everybody may put something else in the place of what lies there.
    #[must_use]
    pub const fn let_everybody_replace(self) -> bool {
        self.mode & EVERYBODY_MAY_WRITE != 0 && self.mode & STICKY == 0
    }

    /// Of a directory: others may put something else in the place of what root or `user` has there.
    const fn let_others_replace(self, user: u32) -> bool {
        self.are_a_strangers(user) || (self.let_others_write(user) && self.mode & STICKY == 0)
    }

    const fn are_a_strangers(self, user: u32) -> bool {
        self.owner != 0 && self.owner != user
    }

    fn exposed(self, path: &Path) -> Distrust {
        Distrust::Exposed { path: path.to_owned(), mode: self.mode, owner: self.owner }
    }
}

/// The file that an absolute path leads to, if root and `user` alone can change it and every
/// directory and symbolic link on the way; `user` is a uid.
///
/// Group members are others, whoever they are today. What lies in a sticky directory, as `/tmp` is,
/// belongs to its owner.
pub fn trusted_file(path: &Path, user: u32) -> Result<PathBuf, Distrust> {
    match walk(path, user)? {
        (reached, Step::File) => Ok(reached),
        (path, Step::Directory | Step::Other | Step::Link(_)) => Err(Distrust::NotAFile { path }),
    }
}

/// Where an absolute path leads, if root and `user` alone can change that; others may be allowed to
/// add entries there, as in `/tmp`. `user` is a uid.
pub fn trusted_way(path: &Path, user: u32) -> Result<PathBuf, Distrust> {
    walk(path, user).map(|(reached, _)| reached)
}

/// The directory that an absolute path leads to, if root and `user` alone can write there, and can
/// change every directory and symbolic link on the way; `user` is a uid.
///
/// It is not sticky itself unless nobody else may write: others could put there what it is to have.
pub fn trusted_directory(path: &Path, user: u32) -> Result<PathBuf, Distrust> {
    let (path, step) = walk(path, user)?;
    if step != Step::Directory {
        return Err(Distrust::Unseen { path, source: io::ErrorKind::NotADirectory.into() });
    }
    let rights = match fs::symlink_metadata(&path) {
        Ok(metadata) => Rights::of(&metadata),
        Err(source) => return Err(Distrust::Unseen { path, source }),
    };
    if rights.let_others_write(user) { Err(rights.exposed(&path)) } else { Ok(path) }
}

/// Where a path leads, and what is there: no link.
fn walk(path: &Path, user: u32) -> Result<(PathBuf, Step), Distrust> {
    let nowhere = || Distrust::Nowhere { path: path.to_owned() };
    if !path.is_absolute() {
        return Err(nowhere());
    }
    let mut ahead: VecDeque<OsString> = names(path).into();
    let mut reached = PathBuf::from("/");
    let mut links = 0;
    let mut last = step(&reached, user)?;
    while let Some(name) = ahead.pop_front() {
        if last != Step::Directory {
            return Err(nowhere());
        }
        if name == ".." {
            reached.pop();
            continue;
        }
        reached.push(name);
        last = step(&reached, user)?;
        if let Step::Link(target) = &last {
            links += 1;
            if links > MOST_LINKS {
                return Err(nowhere());
            }
            reached.pop();
            if target.is_absolute() {
                reached = PathBuf::from("/");
            }
            for name in names(target).into_iter().rev() {
                ahead.push_front(name);
            }
            // Where a link lies is a directory.
            last = Step::Directory;
        }
    }
    Ok((reached, last))
}

/// Others than root and `user`, a uid, can change what was looked at without following a link, or
/// of a directory what lies in it.
#[must_use]
pub fn is_exposed(metadata: &Metadata, user: u32) -> bool {
    let (rights, kind) = (Rights::of(metadata), metadata.file_type());
    if kind.is_symlink() {
        // Its mode says nothing.
        rights.are_a_strangers(user)
    } else if kind.is_dir() {
        rights.let_others_replace(user)
    } else {
        rights.let_others_write(user)
    }
}

/// What one name on the way is.
#[derive(PartialEq, Eq)]
enum Step {
    Directory,
    File,
    Link(PathBuf),
    Other,
}

fn step(path: &Path, user: u32) -> Result<Step, Distrust> {
    let unseen = |source| Distrust::Unseen { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(unseen)?;
    let (rights, kind) = (Rights::of(&metadata), metadata.file_type());
    let is_exposed = is_exposed(&metadata, user);
    if is_exposed {
        return Err(rights.exposed(path));
    }
    if kind.is_symlink() {
        return fs::read_link(path).map(Step::Link).map_err(unseen);
    }
    if kind.is_dir() {
        return Ok(Step::Directory);
    }
    Ok(if kind.is_file() { Step::File } else { Step::Other })
}

/// The names of a path, `..` among them.
fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

    use rustix::process::geteuid;

    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(tree.at("a/b")).unwrap();
            fs::write(tree.at("a/b/program"), "").unwrap();
            for (path, mode) in [("a", 0o755), ("a/b", 0o755), ("a/b/program", 0o755)] {
                tree.set(path, mode);
            }
            tree
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(path)
        }

        fn set(&self, path: &str, mode: u32) {
            fs::set_permissions(self.at(path), Permissions::from_mode(mode)).unwrap();
        }

        fn check(&self, path: &str) -> Result<PathBuf, String> {
            let user = geteuid().as_raw();
            trusted_file(&self.at(path), user).map_err(|error| error.to_string())
        }

        fn exposed(&self, path: &str, mode: u32) -> Result<PathBuf, String> {
            let (path, owner) = (self.at(path), geteuid().as_raw());
            let path = path.display();
            Err(format!("others may write {path}: its mode is {mode:04o}, its owner {owner}"))
        }
    }

    #[test]
    fn what_root_or_oneself_alone_can_change_is_trusted() {
        let tree = Tree::new();
        assert_eq!(tree.check("a/b/program"), Ok(tree.at("a/b/program")));
        assert_eq!(tree.check("a/b/../../a/./b/program"), Ok(tree.at("a/b/program")));
        tree.set("a", 0o1777);
        assert_eq!(tree.check("a/b/program"), Ok(tree.at("a/b/program")), "as /tmp");
    }

    #[test]
    fn what_others_may_write_is_not() {
        for (path, mode) in
            [("a/b/program", 0o775), ("a/b/program", 0o757), ("a/b", 0o775), ("a", 0o777)]
        {
            let tree = Tree::new();
            tree.set(path, mode);
            assert_eq!(tree.check("a/b/program"), tree.exposed(path, mode));
        }
    }

    #[test]
    fn every_directory_behind_a_link_counts() {
        let tree = Tree::new();
        symlink("b/program", tree.at("a/relative")).unwrap();
        symlink(tree.at("a/relative"), tree.at("absolute")).unwrap();
        assert_eq!(tree.check("absolute"), Ok(tree.at("a/b/program")));
        tree.set("a/b", 0o777);
        assert_eq!(tree.check("absolute"), tree.exposed("a/b", 0o777));
        tree.set("a/b", 0o755);
        tree.set("a", 0o777);
        assert_eq!(tree.check("absolute"), tree.exposed("a", 0o777));
    }

    #[test]
    fn what_belongs_to_somebody_else_is_not_trusted() {
        let tree = Tree::new();
        let stranger = geteuid().as_raw() + 1;
        if chown(tree.at("a/b"), Some(stranger), None).is_ok() {
            let error = tree.check("a/b/program").unwrap_err();
            assert!(error.ends_with(&format!("a/b: its mode is 0755, its owner {stranger}")));
        } else {
            let error = trusted_file(&tree.at("a/b/program"), stranger).unwrap_err();
            assert!(matches!(error, Distrust::Exposed { .. }), "{error}");
        }
    }

    #[test]
    fn a_directory_is_trusted_if_every_one_on_the_way_is() {
        let tree = Tree::new();
        let user = geteuid().as_raw();
        let check =
            |path: &str| trusted_directory(&tree.at(path), user).map_err(|error| error.to_string());
        symlink("a/b", tree.at("link")).unwrap();
        for path in ["a/b", "link", "link/", "a/b/../b", "a/b/."] {
            assert_eq!(check(path), Ok(tree.at("a/b")), "{path}");
        }
        tree.set("a", 0o1777);
        assert_eq!(trusted_way(&tree.at("a"), user).unwrap(), tree.at("a"));
        assert_eq!(check("a/b"), Ok(tree.at("a/b")), "as below /tmp");
        assert_eq!(check("a"), tree.exposed("a", 0o1777), "as /tmp itself");
        for (path, mode) in [("a", 0o777), ("a", 0o775), ("a/b", 0o770), ("a/b", 0o1777)] {
            tree.set("a", 0o755);
            tree.set("a/b", 0o755);
            tree.set(path, mode);
            assert_eq!(check("link"), tree.exposed(path, mode));
        }
        tree.set("a/b", 0o755);
        let error = trusted_directory(&tree.at("a/b/program"), user).unwrap_err().to_string();
        assert!(error.ends_with("a/b/program: not a directory"), "{error}");
    }

    #[test]
    fn a_directory_or_a_link_of_somebody_elses_leads_nowhere_good() {
        let tree = Tree::new();
        symlink("b", tree.at("a/link")).unwrap();
        let user = geteuid().as_raw();
        let stranger = user + 1;
        let exposed = |path: &str, user: u32, named: &str| {
            let error = trusted_directory(&tree.at(path), user).unwrap_err();
            let Distrust::Exposed { path, .. } = error else { panic!("{error}") };
            assert!(path.ends_with(named), "{path:?}");
        };
        if std::os::unix::fs::lchown(tree.at("a/link"), Some(stranger), None).is_ok() {
            exposed("a/link", user, "a/link");
            // Whose the last one is says nothing while the one above is another's.
            chown(tree.at("a"), Some(stranger), None).unwrap();
            exposed("a/b", user, "a");
        } else {
            let top = tree.at("").file_name().unwrap().to_owned();
            exposed("a/b", stranger, top.to_str().unwrap());
        }
    }

    #[test]
    fn what_is_no_file_is_named() {
        let tree = Tree::new();
        symlink("circle", tree.at("circle")).unwrap();
        let says = |path: &str, words: &str| {
            let error = tree.check(path).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        says("a/b", "a/b is not a regular file");
        says("a/b/program/x", "leads nowhere");
        says("circle", "circle leads nowhere");
        says("nothing", "nothing: No such file");
        assert!(matches!(trusted_file(Path::new("x"), 0), Err(Distrust::Nowhere { .. })));
        assert!(matches!(
            trusted_file(Path::new("/dev/null"), 0),
            Err(Distrust::NotAFile { .. } | Distrust::Exposed { .. })
        ));
    }
}
