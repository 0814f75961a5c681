//! A main configuration, searched as plain text for the few directives that tell servers apart.
//!
//! Not httpd's own reading: sections, `Define` and wildcards are not followed, and what holds a
//! variable is left out. So what is found here corroborates; it does not decide alone.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

/// As many values of one directive as are kept.
const MOST_VALUES: usize = 16;

/// What the text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MainConfiguration {
    /// The last `ServerRoot`.
    pub root: Option<PathBuf>,
    /// Each `PidFile`.
    pub pid_files: Vec<PathBuf>,
    /// The port of each `Listen`.
    pub ports: Vec<u16>,
    /// Each `Include` of one file.
    pub includes: Vec<PathBuf>,
}

/// Searches the text; a directive's name is of either case, a value may be quoted.
#[must_use]
pub fn main_configuration(text: &[u8]) -> MainConfiguration {
    let mut found = MainConfiguration::default();
    for line in text.split(|byte| *byte == b'\n') {
        let Some((name, value)) = directive(line) else {
            continue;
        };
        let path = || PathBuf::from(OsStr::from_bytes(value));
        if name.eq_ignore_ascii_case(b"ServerRoot") {
            found.root = Some(path());
        } else if name.eq_ignore_ascii_case(b"PidFile") {
            keep(&mut found.pid_files, path());
        } else if name.eq_ignore_ascii_case(b"Listen") {
            if let Some(port) = port(value) {
                keep(&mut found.ports, port);
            }
        } else if (name.eq_ignore_ascii_case(b"Include")
            || name.eq_ignore_ascii_case(b"IncludeOptional"))
            && !value.iter().any(|byte| b"*?[".contains(byte))
        {
            keep(&mut found.includes, path());
        }
    }
    found
}

fn keep<T>(values: &mut Vec<T>, value: T) {
    if values.len() < MOST_VALUES {
        values.push(value);
    }
}

/// A directive's name and first argument, if that is neither empty nor made of variables.
fn directive(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace)?;
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_ascii_start();
    let value = match rest.split_first() {
        Some((quote @ (b'"' | b'\''), quoted)) => quoted.split(|byte| byte == quote).next()?,
        _ => rest.split(u8::is_ascii_whitespace).next()?,
    };
    (!value.is_empty() && !value.contains(&b'$')).then_some((name, value))
}

/// `80`, `127.0.0.1:80`, `[::1]:80`.
fn port(value: &[u8]) -> Option<u16> {
    let number = value.rsplit(|byte| *byte == b':').next()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_servers_apart_is_found() {
        let text = b"# PidFile /no\n  serverroot \"/srv/a b\"\r\nPidFile run/httpd.pid\n\
            PIDFILE '/run/x.pid'\nListen [::]:443 https\nListen 80\nListen 10.0.0.1:8080\n\
            Include ports.conf\nIncludeOptional mods/*.load\n";
        let found = main_configuration(text);
        assert_eq!(found.root, Some("/srv/a b".into()));
        assert_eq!(found.pid_files, ["run/httpd.pid", "/run/x.pid"].map(PathBuf::from));
        assert_eq!(found.ports, [443, 80, 8080]);
        assert_eq!(found.includes, [PathBuf::from("ports.conf")]);
    }

    #[test]
    fn what_cannot_be_told_is_left_out() {
        let text =
            b"PidFile ${APACHE_PID_FILE}\nPidFile\nPidFile \"\"\nListen here\nListen 99999\n";
        assert_eq!(main_configuration(text), MainConfiguration::default());
        assert_eq!(main_configuration(b"\0\xff\"'"), MainConfiguration::default());
        let many = b"Listen 80\n".repeat(1000);
        assert_eq!(main_configuration(&many).ports.len(), MOST_VALUES);
    }
}
