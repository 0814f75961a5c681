//! The part of a parent's command line that a question to the same configuration needs.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// `-d`, `-f`, `-D`, `-c` and `-C` of a command line whose arguments end in NUL, each with its
/// value in an argument of its own, in their order.
///
/// What writes, signals or detaches is left out: `-E` would write a file, `-k` signals. The options
/// are those of httpd's `main.c`, `AP_SERVER_BASEARGS`.
#[must_use]
pub fn base_arguments(command_line: &[u8]) -> Vec<OsString> {
    let mut arguments = command_line.split(|byte| *byte == 0).skip(1);
    let mut kept: Vec<OsString> = Vec::new();
    while let Some(argument) = arguments.next() {
        let Some([letter, joined @ ..]) = argument.strip_prefix(b"-") else { continue };
        if !b"CcDdEefkR".contains(letter) {
            continue;
        }
        let value = if joined.is_empty() { arguments.next() } else { Some(joined) };
        let Some(value) = value.filter(|_| b"CcDdf".contains(letter)) else { continue };
        kept.push(OsStr::from_bytes(&[b'-', *letter]).to_owned());
        kept.push(OsStr::from_bytes(value).to_owned());
    }
    kept
}

/// The server's root that arguments name is below a working directory that nobody knows.
#[must_use]
pub fn have_relative_root(arguments: &[OsString]) -> bool {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(joined) = argument.as_bytes().strip_prefix(b"-d") else { continue };
        let root = if joined.is_empty() {
            arguments.next().map_or(&b""[..], |root| root.as_bytes())
        } else {
            joined
        };
        if !Path::new(OsStr::from_bytes(root)).is_absolute() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_the_configuration_is_kept() {
        let kept = base_arguments(
            b"/usr/sbin/httpd-prefork\0-DSYSCONFIG\0-C\0PidFile /run/httpd.pid\0-f\0/etc/x.conf\0\
              -E\0/tmp/written\0-e\0debug\0-d/srv\0-X\0-DSYSTEMD\0-DFOREGROUND\0-k\0start\0-c\0",
        );
        let expected = [
            "-D",
            "SYSCONFIG",
            "-C",
            "PidFile /run/httpd.pid",
            "-f",
            "/etc/x.conf",
            "-d",
            "/srv",
            "-D",
            "SYSTEMD",
            "-D",
            "FOREGROUND",
            "-c",
            "",
        ];
        assert_eq!(kept, expected);
        assert!(base_arguments(b"/usr/sbin/apache2\0-k\0start\0").is_empty());
        assert!(base_arguments(b"").is_empty());
        assert!(base_arguments(b"x\0-\0--\0-t").is_empty());
    }

    #[test]
    fn a_relative_root_is_found_in_either_form() {
        let have = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
            have_relative_root(&arguments)
        };
        assert!(have(&["-f", "/x", "-d", "here"]) && have(&["-dhere"]) && have(&["-d"]));
        assert!(!have(&["-f", "conf/x", "-d", "/srv"]) && !have(&["-d/srv"]) && !have(&[]));
    }
}
