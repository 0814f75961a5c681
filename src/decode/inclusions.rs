//! Where each file of httpd's configuration is included: the tree of `-t -D DUMP_INCLUDES`.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// httpd itself follows 20 files that include each other.
const DEEPEST: usize = 64;
/// As many inclusions as are kept: a file may be included by many.
pub const MOST: usize = 50_000;

/// One inclusion of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The line of the file above on which the `Include` ends; 0 of the main configuration.
    pub line: u32,
    /// The absolute path of the file.
    pub path: PathBuf,
    /// What it includes, in the order in which httpd read it.
    pub within: Vec<Inclusion>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusions {
    /// What directives of the command line, `-C`, include before the main configuration.
    pub before: Vec<Inclusion>,
    /// The main configuration. What `-c` includes after it is told as if it included that itself.
    pub main: Inclusion,
}

/// Reads what httpd printed; `None` unless it is all of one main configuration.
#[must_use]
pub fn inclusions(printed: &[u8]) -> Option<Inclusions> {
    // What comes before the main configuration is told as if something had included it.
    let nothing = Inclusion { line: 0, path: PathBuf::new(), within: Vec::new() };
    let (mut open, mut before, mut count) = (vec![nothing], None, 0);
    // Names of certificates are indented too.
    let is_first = |line: &[u8]| line.starts_with(b"  ") && line.trim_ascii().starts_with(b"(");
    let lines = printed.split(|byte| *byte == b'\n').skip_while(|line| !is_first(line));
    for line in lines.take_while(|line| line.starts_with(b"  ")) {
        let (depth, inclusion) = inclusion(line)?;
        count += 1;
        if depth > open.len().min(DEEPEST) || count > MOST {
            return None;
        }
        if depth == 0 {
            close(&mut open, 1);
            if before.replace(open.pop()?.within).is_some() {
                return None;
            }
        } else {
            close(&mut open, depth);
        }
        open.push(inclusion);
    }
    close(&mut open, 1);
    Some(Inclusions { before: before?, main: open.pop()? })
}

/// Hands what is below this depth over to what is above.
fn close(open: &mut Vec<Inclusion>, depth: usize) {
    while open.len() > depth.max(1)
        && let Some(inner) = open.pop()
        && let Some(outer) = open.last_mut()
    {
        outer.within.push(inner);
    }
}

/// `  (*) /main.conf`, `    (LINE) /included.conf`: two blanks for each depth. Where `-C` includes
/// something, the main configuration has a number too.
fn inclusion(line: &[u8]) -> Option<(usize, Inclusion)> {
    let blanks = line.iter().take_while(|byte| **byte == b' ').count();
    let depth = (blanks / 2).checked_sub(1)?;
    let rest = line.get(blanks..)?.strip_prefix(b"(")?;
    let end = rest.iter().position(|byte| *byte == b')')?;
    let (number, path) = rest.split_at_checked(end)?;
    let path = path.strip_prefix(b") ")?;
    let number = std::str::from_utf8(number).ok()?;
    let number = if depth == 0 { Some(0) } else { number.parse().ok() };
    let is_path = path.starts_with(b"/") && !path.contains(&0);
    let path = is_path.then(|| Path::new(OsStr::from_bytes(path)).to_owned())?;
    Some((depth, Inclusion { line: number?, path, within: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(line: u32, path: &str) -> Inclusion {
        Inclusion { line, path: path.into(), within: Vec::new() }
    }

    #[test]
    fn each_inclusion_is_in_its_place() {
        let printed = b"AH00558: a warning\nIncluded configuration files:\n  (*) /srv/inc.conf\n\
            \x20   (34) /srv/a.conf\n      (2) /srv/n.conf\n      (3) /srv/o.conf\n\
            \x20   (34) /srv/b c.conf\n    (36) /srv/a.conf\n      (2) /srv/n.conf\n\
            ServerRoot: \"/srv\"\n";
        let first = vec![leaf(2, "/srv/n.conf"), leaf(3, "/srv/o.conf")];
        let main = Inclusion {
            within: vec![
                Inclusion { within: first, ..leaf(34, "/srv/a.conf") },
                leaf(34, "/srv/b c.conf"),
                Inclusion { within: vec![leaf(2, "/srv/n.conf")], ..leaf(36, "/srv/a.conf") },
            ],
            ..leaf(0, "/srv/inc.conf")
        };
        assert_eq!(inclusions(printed), Some(Inclusions { before: Vec::new(), main }));
    }

    #[test]
    fn the_command_line_may_include_too() {
        let printed = b"    (1) /b.conf\n      (7) /n.conf\n    (3) /c.conf\n  (3) /main.conf\n\
            \x20   (3) /a.conf\n";
        let within = vec![leaf(7, "/n.conf")];
        let before = vec![Inclusion { within, ..leaf(1, "/b.conf") }, leaf(3, "/c.conf")];
        let main = Inclusion { within: vec![leaf(3, "/a.conf")], ..leaf(0, "/main.conf") };
        assert_eq!(inclusions(printed), Some(Inclusions { before, main }));
    }

    #[test]
    fn what_is_no_whole_tree_is_none() {
        for printed in [
            "",
            "Syntax OK\n",
            "    (1) /a.conf\n",
            "  (*) /a\n  (*) /b\n",
            "  (*) /a\n      (1) /b\n",
            "  (*) /a\n    (x) /b\n",
            "      (1) /a\n  (*) /a\n",
            "  (*) /a\n    (*) /b\n",
            "  (*) /a\n    (1) b\n",
            "  (*) /a\n    (1",
        ] {
            assert_eq!(inclusions(printed.as_bytes()), None, "{printed:?}");
        }
        let deep = |depth: usize| {
            let line = |at: usize| format!("{}(1) /{at}\n", " ".repeat(2 * at + 2));
            (0..depth).map(line).collect::<String>()
        };
        assert!(inclusions(deep(20).as_bytes()).is_some());
        assert_eq!(inclusions(deep(80).as_bytes()), None);
        let many = format!("  (*) /a\n{}", "    (1) /b\n".repeat(MOST));
        assert_eq!(inclusions(many.as_bytes()), None);
    }
}
