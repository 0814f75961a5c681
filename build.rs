//! Tells the program what it was built from, as far as git and rustc are there to say.
#![expect(clippy::disallowed_methods, reason = "nothing else can ask git and rustc")]

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=GRACEKEEPER_REVISION");
    let revision = env::var("GRACEKEEPER_REVISION").ok().or_else(checked_out);
    let compiler = env::var("RUSTC").ok().and_then(|rustc| answer(&rustc, &["--version"]));
    let release = compiler.as_deref().and_then(|line| line.split(' ').nth(1));
    let (revision, release) = (word(revision.as_deref()), word(release));
    println!("cargo:rustc-env=GRACEKEEPER_REVISION={revision}");
    println!("cargo:rustc-env=GRACEKEEPER_RUSTC={release}");
    println!("cargo:rustc-env=GRACEKEEPER_ORIGIN={}", origin(&revision, &release));
}

/// The revision of this working tree; an unpacked archive inside somebody else's has none.
fn checked_out() -> Option<String> {
    let top = answer("git", &["rev-parse", "--show-toplevel"])?;
    let here = env::var_os("CARGO_MANIFEST_DIR")?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    // The reference log grows with each commit and each checkout, whichever branch it is.
    if let Some(log) = answer("git", &["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
    }
    answer("git", &["rev-parse", "HEAD"])
}

fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// What cargo's line protocol and a metric's label can carry; empty where nothing is known.
fn word(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().filter(char::is_ascii_graphic).take(64).collect()
}

/// ` (revision .., rustc ..)`, as far as it is known.
fn origin(revision: &str, release: &str) -> String {
    let known: Vec<String> = [("revision", revision), ("rustc", release)]
        .iter()
        .filter(|(_, word)| !word.is_empty())
        .map(|(name, word)| format!("{name} {word}"))
        .collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}
