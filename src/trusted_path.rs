//! Whether anybody else could change what a path leads to: asked before a program is run, or a
//! script read, on its owner's behalf.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use thiserror::Error;

/// The group, or everybody, may write.
const OTHERS_MAY_WRITE: u32 = 0o022;
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

/// The file that an absolute path leads to, if root and `user` alone can change it and every
/// directory and symbolic link on the way; `user` is a uid.
///
/// Group members are others, whoever they are today. What lies in a sticky directory, as `/tmp` is,
/// belongs to its owner.
pub fn trusted_file(path: &Path, user: u32) -> Result<PathBuf, Distrust> {
    let nowhere = || Distrust::Nowhere { path: path.to_owned() };
    if !path.is_absolute() {
        return Err(nowhere());
    }
    let mut ahead: VecDeque<OsString> = names(path).into();
    let mut reached = PathBuf::from("/");
    let mut links = 0;
    let mut is_file = step(&reached, user)? == Step::File;
    while let Some(name) = ahead.pop_front() {
        if is_file {
            return Err(nowhere());
        }
        if name == ".." {
            reached.pop();
            continue;
        }
        reached.push(name);
        match step(&reached, user)? {
            Step::Directory => {}
            Step::File => is_file = true,
            Step::Link(target) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(nowhere());
                }
                reached.pop();
                if target.is_absolute() {
                    reached = PathBuf::from("/");
                }
                for name in names(&target).into_iter().rev() {
                    ahead.push_front(name);
                }
            }
        }
    }
    if is_file { Ok(reached) } else { Err(Distrust::NotAFile { path: reached }) }
}

/// What one name on the way is.
#[derive(PartialEq, Eq)]
enum Step {
    Directory,
    File,
    Link(PathBuf),
}

fn step(path: &Path, user: u32) -> Result<Step, Distrust> {
    let unseen = |source| Distrust::Unseen { path: path.to_owned(), source };
    let metadata = fs::symlink_metadata(path).map_err(unseen)?;
    let (mode, owner, kind) = (metadata.mode() & 0o7777, metadata.uid(), metadata.file_type());
    let is_writable = mode & OTHERS_MAY_WRITE != 0
        && !kind.is_symlink()
        && !(kind.is_dir() && mode & STICKY != 0);
    if is_writable || (owner != 0 && owner != user) {
        return Err(Distrust::Exposed { path: path.to_owned(), mode, owner });
    }
    if kind.is_symlink() {
        return fs::read_link(path).map(Step::Link).map_err(unseen);
    }
    if kind.is_dir() {
        return Ok(Step::Directory);
    }
    if kind.is_file() {
        return Ok(Step::File);
    }
    Err(Distrust::NotAFile { path: path.to_owned() })
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
