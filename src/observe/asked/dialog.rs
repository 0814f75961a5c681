//! Whether a configuration is known to have no pass phrase dialog behind a pipe.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, path::PathBuf};

use crate::{decode::pass_phrase_dialog::may_ask_through_pipe, observe::regular_file};

/// A configuration that is larger is not read.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Whether all of these files, and the arguments that httpd was called with, were read, and none of
/// them names such a dialog.
pub(super) fn has_no_pipe(files: &[PathBuf], arguments: &[OsString]) -> bool {
    let mut room = LARGEST;
    let is_free_of_it = |file: &PathBuf| {
        let Ok(Some((content, _))) = regular_file::read(file, room) else { return false };
        room = room.saturating_sub(content.len().try_into().unwrap_or(u64::MAX));
        room > 0 && !may_ask_through_pipe(&content)
    };
    !files.is_empty()
        && !arguments.iter().any(|argument| may_ask_through_pipe(argument.as_bytes()))
        && files.iter().all(is_free_of_it)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::has_no_pipe;

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
