//! Whether httpd's refusal of a configuration is httpd's, or only of the user who asked.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, process::ExitStatusExt as _},
    path::Path,
    process::ExitStatus,
};

/// As many paths of a message as are looked at.
const MOST_PATHS: usize = 64;

/// A refusal that httpd would tell its own user too. `None` where whoever asked may not read all
/// that httpd would, or the program did not come to an end of its own.
pub(super) fn refusal(status: ExitStatus, said: &[u8]) -> Option<()> {
    let is_own = status.signal().is_none() && !said.is_empty();
    let is_denied = contains(said, b"Permission denied") || contains(said, b"(13)");
    (is_own && !is_denied && paths(said).all(is_readable)).then_some(())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What looks like an absolute path in a message: httpd quotes some of them, and ends others with a
/// colon.
fn paths(said: &[u8]) -> impl Iterator<Item = &Path> {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b'`');
    said.split(is_end)
        .filter(|word| word.starts_with(b"/"))
        .map(|word| {
            let end = word.iter().rposition(|byte| !b":;,.)".contains(byte));
            Path::new(OsStr::from_bytes(end.and_then(|end| word.get(..=end)).unwrap_or_default()))
        })
        .take(MOST_PATHS)
}

/// It is there and may be opened, or it is known not to be there.
fn is_readable(path: &Path) -> bool {
    let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => !fs::read_dir(path).is_err_and(denied),
        // A FIFO's opening would wait.
        Ok(metadata) if metadata.is_file() => !fs::File::open(path).is_err_and(denied),
        Ok(_) => true,
        Err(error) => !denied(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: i32, said: &str) -> Option<()> {
        refusal(ExitStatus::from_raw(code), said.as_bytes())
    }

    const ENDED: i32 = 1 << 8;

    #[test]
    fn a_wrong_line_is_wrong_for_everybody() {
        let said = "AH00526: Syntax error on line 3 of /nowhere/x.conf:\nInvalid command 'Foo'\n";
        assert_eq!(verdict(ENDED, said), Some(()));
        let missing = "SSLCertificateFile: file '/nowhere/c.pem' does not exist or is empty\n";
        assert_eq!(verdict(ENDED, missing), Some(()));
    }

    #[test]
    fn what_the_asker_may_not_read_or_what_was_killed_is_no_verdict() {
        let denied = "Include/IncludeOptional: Could not open directory /x: Permission denied";
        assert_eq!(verdict(ENDED, denied), None);
        assert_eq!(verdict(ENDED, "(13)Permission denied: AH02291: Cannot access /x"), None);
        assert_eq!(verdict(9, "AH00526: Syntax error on line 3 of /nowhere/x.conf"), None);
        assert_eq!(verdict(ENDED, ""), None);
    }

    #[test]
    fn paths_are_found_quoted_or_not() {
        let said = b"of /a/b.conf: file '/c d', (/e) \"/f.\" and /g;";
        let found: Vec<&Path> = paths(said).collect();
        assert_eq!(found, ["/a/b.conf", "/c", "/f", "/g"].map(Path::new));
        assert!(is_readable(Path::new("/")) && is_readable(Path::new("/nowhere/x")));
    }
}
