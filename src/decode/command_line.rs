//! httpd's command line: which configuration it reads, and whether it runs a server at all.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

/// What httpd was told, as `/proc/PID/cmdline` keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, as it was called.
    pub program: PathBuf,
    /// `-d`, the server's root.
    pub root: Option<PathBuf>,
    /// `-f`, the main configuration; relative to the root.
    pub configuration: Option<PathBuf>,
    /// The last `PidFile` of `-c` and `-C`.
    pub pid_file: Option<PathBuf>,
    /// It was called to serve, not to print or to signal something.
    pub serves: bool,
}

/// Reads a command line: arguments that end in NUL.
///
/// The options are those of httpd's `main.c`, `AP_SERVER_BASEARGS`.
#[must_use]
pub fn command_line(bytes: &[u8]) -> CommandLine {
    let mut arguments = bytes.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let program = arguments.next().map(PathBuf::from).unwrap_or_default();
    let mut line = CommandLine { program, serves: true, ..CommandLine::default() };
    while let Some(argument) = arguments.next() {
        let Some((b'-', option)) = argument.as_bytes().split_first() else {
            continue;
        };
        let Some((letter, joined)) = option.split_first() else {
            continue;
        };
        let takes_value = b"CcDdEefk".contains(letter);
        let value = if !takes_value {
            OsStr::new("")
        } else if joined.is_empty() {
            arguments.next().unwrap_or_default()
        } else {
            OsStr::from_bytes(joined)
        };
        match letter {
            b'd' => line.root = Some(value.into()),
            b'f' => line.configuration = Some(value.into()),
            b'c' | b'C' => line.pid_file = pid_file(value).or(line.pid_file),
            b'k' => line.serves &= value == "start",
            b't' | b'S' | b'M' | b'V' | b'v' | b'l' | b'L' | b'h' => line.serves = false,
            _ => {}
        }
    }
    line
}

/// The argument of a `PidFile` directive.
fn pid_file(directive: &OsStr) -> Option<PathBuf> {
    let text = directive.to_str()?.trim_ascii();
    let (name, value) = text.split_once(|letter: char| letter.is_ascii_whitespace())?;
    let value = value.trim_ascii().trim_matches('"');
    (name.eq_ignore_ascii_case("pidfile") && !value.is_empty()).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_starts_it_without_a_path() {
        let line = command_line(b"/usr/sbin/apache2\0-k\0start\0");
        assert_eq!(line.program, PathBuf::from("/usr/sbin/apache2"));
        assert!(line.serves && line.configuration.is_none());
    }

    #[test]
    fn options_may_be_joined_with_their_values() {
        let line = command_line(
            b"httpd\0-d/srv\0-f\0conf/x.conf\0-c\0PidFile \"/run/x.pid\"\0-DFOREGROUND\0",
        );
        assert_eq!(line.root, Some("/srv".into()));
        assert_eq!(line.configuration, Some("conf/x.conf".into()));
        assert_eq!(line.pid_file, Some("/run/x.pid".into()));
        assert!(line.serves);
    }

    #[test]
    fn a_configtest_and_a_signal_serve_nobody() {
        assert!(!command_line(b"apache2\0-t\0").serves);
        assert!(!command_line(b"apache2\0-k\0graceful\0").serves);
        assert!(!command_line(b"apache2\0-tDDUMP_RUN_CFG\0").serves);
        assert!(!command_line(b"apache2\0-k").serves);
    }

    #[test]
    fn a_value_is_no_option() {
        assert!(command_line(b"apache2\0-D\0-t\0").serves);
    }
}
