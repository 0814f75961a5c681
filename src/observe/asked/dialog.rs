//! Whether a configuration is known to have no pass phrase dialog behind a pipe.

use std::{ffi::OsString, os::unix::ffi::OsStrExt};

use super::texts::Texts;
use crate::decode::pass_phrase_dialog::may_ask_through_pipe;

/// Whether all files, and the arguments that httpd was called with, were read, and none of them
/// names such a dialog.
pub(super) fn has_no_pipe(texts: &Texts, arguments: &[OsString]) -> bool {
    !arguments.iter().any(|argument| may_ask_through_pipe(argument.as_bytes()))
        && texts.all().is_some_and(|mut all| !all.any(may_ask_through_pipe))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs, path::PathBuf};

    use super::Texts;

    fn has_no_pipe(files: &[PathBuf], arguments: &[OsString]) -> bool {
        super::has_no_pipe(&Texts::read(files, None), arguments)
    }

    #[test]
    fn only_what_was_read_rules_a_dialog_out() {
        let directory = tempfile::tempdir().unwrap();
        let files = ["main", "other"].map(|name| directory.path().join(name));
        fs::write(&files[0], "Listen 80\n").unwrap();
        assert!(!has_no_pipe(&files, &[]), "one is missing");
        fs::write(&files[1], "SSLPassPhraseDialog exec:/opt/ask\n").unwrap();
        assert!(has_no_pipe(&files, &[]));
        assert!(!has_no_pipe(&files, &["-c".into(), "SSLPassPhraseDialog |/opt/ask".into()]));
        assert!(!has_no_pipe(&[], &[]));
        fs::write(&files[1], "SSLPassPhraseDialog |/opt/ask\n").unwrap();
        assert!(!has_no_pipe(&files, &[]));
    }
}
