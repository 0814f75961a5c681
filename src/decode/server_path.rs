//! Paths as httpd makes them of the names in its configuration.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

/// The absolute path of a name, which may be relative to `ServerRoot`; `None` if it is none.
///
/// `ap_server_root_relative`: `.`, `..` and doubled slashes are gone, whatever links there are.
#[must_use]
pub fn absolute(root: Option<&Path>, name: &[u8]) -> Option<PathBuf> {
    if name.is_empty() || name.contains(&0) {
        return None;
    }
    let name = Path::new(OsStr::from_bytes(name));
    let whole = if name.is_absolute() { name.to_owned() } else { root?.join(name) };
    let mut plain = whole.has_root().then(|| PathBuf::from("/"))?;
    for component in whole.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2.4.71 says the same of its `ErrorLog`.
    #[test]
    fn a_name_is_below_the_root_and_plain() {
        let root = Some(Path::new("/srv/x"));
        for (name, expected) in [
            ("logs/..//logs/./e", Some("/srv/x/logs/e")),
            ("/a//b/../c", Some("/a/c")),
            ("../../../../a", Some("/a")),
            ("conf.d/*.conf", Some("/srv/x/conf.d/*.conf")),
            ("conf.d/", Some("/srv/x/conf.d")),
            ("", None),
            ("a\0b", None),
        ] {
            assert_eq!(absolute(root, name.as_bytes()), expected.map(PathBuf::from), "{name:?}");
        }
        assert_eq!(absolute(None, b"a"), None);
        assert_eq!(absolute(Some(Path::new("a")), b"b"), None);
        assert_eq!(absolute(None, b"/a"), Some("/a".into()));
    }
}
