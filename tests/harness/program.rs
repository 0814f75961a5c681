//! Programs that a test puts somewhere and then executes.
//!
//! A child writes them: a descriptor that this process has open for writing may be inherited by
//! what another test's thread forks meanwhile, and until that executes its own program, execve(2)
//! of the file fails with `ETXTBSY`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Copies a program with its mode.
#[track_caller]
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--").args([from, to]).status().unwrap();
    assert!(status.success(), "cp {} {}: {status}", from.display(), to.display());
}

/// Writes a script that anybody may execute.
#[track_caller]
pub(crate) fn write_script(file: &Path, text: &str) {
    let mut child = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "write {}: {status}", file.display());
}
