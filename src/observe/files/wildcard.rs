//! Wildcards in one name of an `Include`, as httpd's `apr_fnmatch` reads them.

use std::ffi::OsStr;

use glob::Pattern;

/// The pattern of a name that has wildcards; `None` if it has none.
pub(in crate::observe) fn wildcard(name: &OsStr) -> Option<Pattern> {
    let name = name.to_string_lossy();
    let (mut pattern, mut is_wild, mut letters) = (String::new(), false, name.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '*' => {
                is_wild = true;
                // Two of them mean something else to the crate.
                if !pattern.ends_with('*') {
                    pattern.push('*');
                }
            }
            '?' => {
                is_wild = true;
                pattern.push('?');
            }
            '[' => match class(letters.as_str()) {
                Some((class, rest)) => {
                    is_wild = true;
                    pattern.push_str(&class);
                    letters = rest.chars();
                }
                None => pattern.push_str("[[]"),
            },
            '\\' => {
                let meant = letters.next().map(String::from).unwrap_or_default();
                pattern.push_str(&Pattern::escape(&meant));
            }
            plain => pattern.push(plain),
        }
    }
    if is_wild { Pattern::new(&pattern).ok() } else { None }
}

/// Whether a name matches.
pub(in crate::observe) fn matches(pattern: &Pattern, name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // A dot at the beginning must be written. The crate's own option lets `*.conf` match `.conf`.
    let is_shown = !name.starts_with('.') || pattern.as_str().starts_with('.');
    is_shown && pattern.matches(&name)
}

/// The class that begins behind a bracket, and what follows it; `None` if it does not end.
fn class(text: &str) -> Option<(String, &str)> {
    let (negation, text) = match text.strip_prefix(['!', '^']) {
        Some(rest) => ("!", rest),
        None => ("", text),
    };
    let first = text.chars().next()?;
    let (_, behind) = text.split_at_checked(first.len_utf8())?;
    let (rest, after) = behind.split_once(']')?;
    Some((format!("[{negation}{first}{rest}]"), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_httpd_matches_them() {
        for (pattern, matching, others) in [
            ("*.conf", &["a.conf", "a b.conf"][..], &[".conf", ".a.conf", "a.conf~", "A.CONF"][..]),
            ("**.conf", &["a.conf"], &["a.con"]),
            ("[0-9]*", &["000-default"], &["default"]),
            ("[!0-9]*", &["default"], &["000-default"]),
            ("[^0-9]*", &["default"], &["000-default"]),
            ("?.[]x]", &["a.]", "a.x"], &["a.y", "..x"]),
            (".*", &[".htaccess"], &["htaccess"]),
            ("\\**", &["*a"], &["a"]),
            ("a]*", &["a]b"], &["ab"]),
        ] {
            let pattern = wildcard(OsStr::new(pattern)).unwrap();
            let fits = |name: &&str| matches(&pattern, OsStr::new(name));
            assert!(matching.iter().all(fits), "{pattern} {matching:?}");
            assert!(!others.iter().any(fits), "{pattern} {others:?}");
        }
    }

    #[test]
    fn a_name_without_wildcards_is_no_pattern() {
        for name in ["httpd.conf", "a[b", "a]b", "\\*", "", "["] {
            assert_eq!(wildcard(OsStr::new(name)), None, "{name}");
        }
    }
}
