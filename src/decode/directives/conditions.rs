//! Sections that count only under a condition: `<IfModule>` and its like.

use std::{cmp::Ordering, collections::BTreeSet};

use super::words::{word, words};
use crate::decode::modules::has_module;

/// What is known where a condition stands.
pub(super) struct Circumstances<'a> {
    /// Modules that are there by then; `None`: not known.
    pub(super) modules: Option<&'a BTreeSet<Vec<u8>>>,
    /// What is defined by then.
    pub(super) defines: &'a BTreeSet<Vec<u8>>,
    /// httpd's own version.
    pub(super) version: Option<[u32; 3]>,
    /// Whether there is a file of this name, which may be relative to the server's root.
    pub(super) exists: &'a dyn Fn(&[u8]) -> Option<bool>,
}

/// The name of a section that has a condition, as it is compared.
pub(super) fn is_conditional(section: &[u8]) -> bool {
    let names: [&[u8]; 6] =
        [b"ifmodule", b"ifdefine", b"ifversion", b"iffile", b"ifdirective", b"ifsection"];
    names.contains(&section)
}

/// Whether httpd reads what is in this section; `None` where that cannot be told from the text.
pub(super) fn holds(section: &[u8], rest: &[u8], around: &Circumstances<'_>) -> Option<bool> {
    let end = rest.iter().rposition(|byte| *byte == b'>')?;
    let rest = rest.get(..end)?.trim_ascii();
    if section == b"ifversion" {
        return is_version(rest, around.version?);
    }
    let inverted = rest.strip_prefix(b"!");
    let name = word(&mut inverted.unwrap_or(rest));
    let found = match section {
        b"ifmodule" => has_module(around.modules?, &name),
        b"ifdefine" => around.defines.contains(&name),
        b"iffile" => (around.exists)(&name)?,
        _ => return None,
    };
    Some(found != inverted.is_some())
}

/// `[[!]OPERATOR] VERSION`; a pattern is not followed.
fn is_version(rest: &[u8], own: [u32; 3]) -> Option<bool> {
    let words: Vec<Vec<u8>> = words(rest).take(3).collect();
    let (operator, version) = match words.as_slice() {
        [version] => (&b"="[..], version),
        [operator, version] => (operator.as_slice(), version),
        _ => return None,
    };
    let inverted = operator.strip_prefix(b"!");
    let order = own.cmp(&numbers(version)?);
    let holds = match inverted.unwrap_or(operator) {
        b"=" | b"==" => order == Ordering::Equal,
        b">" => order == Ordering::Greater,
        b">=" => order != Ordering::Less,
        b"<" => order == Ordering::Less,
        b"<=" => order != Ordering::Greater,
        _ => return None,
    };
    Some(holds != inverted.is_some())
}

/// Up to three numbers; those that are left out are 0.
pub(super) fn numbers(version: &[u8]) -> Option<[u32; 3]> {
    let text = std::str::from_utf8(version).ok()?;
    let mut parts = text.split('.').map(|part| part.parse().ok());
    let all = [parts.next()??, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?];
    parts.next().is_none().then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(section: &str, rest: &str) -> Option<bool> {
        let set = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_owned()).collect();
        let around = Circumstances {
            modules: Some(&set(&["mpm_event_module", "ssl_module"])),
            defines: &set(&["FOO"]),
            version: Some([2, 4, 71]),
            exists: &|name| Some(name == b"/etc/passwd"),
        };
        holds(section.as_bytes(), rest.as_bytes(), &around)
    }

    /// Each was tried with 2.4.71.
    #[test]
    fn a_condition_holds_where_httpd_finds_that_it_does() {
        for (section, rest, expected) in [
            ("ifmodule", "mpm_event_module>", Some(true)),
            ("ifmodule", "\"mpm_event_module\">", Some(true)),
            ("ifmodule", "event.c >", Some(true)),
            ("ifmodule", "! mpm_event_module>", Some(false)),
            ("ifmodule", "!mod_php.c>", Some(true)),
            ("ifmodule", "MPM_event_module>", Some(false)),
            ("ifdefine", "FOO>", Some(true)),
            ("ifdefine", "!\"FOO\">", Some(false)),
            ("ifdefine", "foo>", Some(false)),
            ("iffile", "\"/etc/passwd\">", Some(true)),
            ("iffile", "!/etc/passwd>", Some(false)),
            ("ifversion", "2.4>", Some(false)),
            ("ifversion", ">= 2.4>", Some(true)),
            ("ifversion", ">= \"2.4\">", Some(true)),
            ("ifversion", "= 2.4.71>", Some(true)),
            ("ifversion", "!< 2.4.1>", Some(true)),
            ("ifversion", "> 2>", Some(true)),
            ("ifversion", "<= 2.4.70>", Some(false)),
            ("ifversion", "~ ^2.4>", None),
            ("ifversion", "x>", None),
            ("ifversion", "= 2.4.7.1>", None),
            ("ifdirective", "Listen>", None),
            ("ifmodule", "ssl_module", None),
        ] {
            assert_eq!(told(section, rest), expected, "<{section} {rest}");
        }
    }
}
