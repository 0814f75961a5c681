//! Which files httpd's configuration is made of: `-t -D DUMP_INCLUDES`.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// As many files as are kept; a host with more has one for each of its customers.
pub const MOST: usize = 50_000;

/// What is read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Includes {
    /// Each file once, the main configuration first, then as httpd read them.
    pub files: Vec<PathBuf>,
    /// Beyond [`MOST`].
    pub left_out: usize,
}

/// Reads what httpd printed: `(*) /main.conf`, then `(LINE) /included.conf`, indented.
#[must_use]
pub fn includes(printed: &[u8]) -> Includes {
    let mut seen = BTreeSet::new();
    let mut found = Includes::default();
    for path in printed.split(|byte| *byte == b'\n').filter_map(file) {
        if seen.contains(path) {
            continue;
        }
        if found.files.len() == MOST {
            // Those beyond are not told from each other: a bound on memory.
            found.left_out += 1;
            continue;
        }
        seen.insert(path);
        found.files.push(path.to_owned());
    }
    found
}

/// The absolute path of one line.
fn file(line: &[u8]) -> Option<&Path> {
    let indented = line.strip_prefix(b"  ")?.trim_ascii_start();
    let rest = indented.strip_prefix(b"(")?;
    let end = rest.iter().position(|byte| *byte == b')')?;
    let (number, path) = rest.split_at_checked(end)?;
    let is_number = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    let path = path.strip_prefix(b") ")?;
    let is_path = path.starts_with(b"/") && !path.contains(&0);
    ((is_number || number == b"*") && is_path).then(|| Path::new(OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_read_once_and_in_its_order() {
        let printed = b"Included configuration files:\n  (*) /srv/inc.conf\n\
            \x20   (34) /srv/conf.d/a.conf\n    (34) /srv/conf.d/b.conf\n\
            \x20     (1) /srv/sp ace/b.conf\n    (36) /srv/conf.d/a.conf\n\
            ServerRoot: \"/srv\"\nPidFile: \"/srv/run/httpd.pid\"\n";
        let files =
            ["/srv/inc.conf", "/srv/conf.d/a.conf", "/srv/conf.d/b.conf", "/srv/sp ace/b.conf"];
        assert_eq!(
            includes(printed),
            Includes { files: files.map(PathBuf::from).into(), left_out: 0 }
        );
    }

    #[test]
    fn what_is_no_such_line_is_passed_over() {
        for line in [
            "(*) /x",
            "  (*)/x",
            "  (*) x",
            "  () /x",
            "  (x) /x",
            "  (12 /x",
            "  /x",
            "  ",
            "",
            "  (1) /x\0",
        ] {
            assert_eq!(includes(line.as_bytes()), Includes::default(), "{line:?}");
        }
        assert_eq!(includes(b"  (1) /\xff").files.len(), 1, "a name need not be text");
    }

    #[test]
    fn there_is_a_most() {
        let lines: Vec<String> = (0..MOST + 7).map(|number| format!("  (1) /{number}\n")).collect();
        let found = includes(lines.concat().as_bytes());
        assert_eq!((found.files.len(), found.left_out), (MOST, 7));
    }
}
