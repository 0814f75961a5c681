//! The command line, through the real binary: exit codes, help, and what is said of wrong input.

#![expect(clippy::disallowed_methods, reason = "the subject is a program")]
#![expect(clippy::unwrap_used, reason = "what cannot be set up has failed")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::geteuid,
};
use tempfile::TempDir;

use crate::harness::program;

const BINARY: &str = env!("CARGO_BIN_EXE_gracekeeper");

/// Owns nothing, on every Linux.
const NOBODY: u32 = 65534;

/// What a run came to.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

fn gracekeeper<A: AsRef<OsStr>>(arguments: &[A]) -> Run {
    finish(Command::new(BINARY).args(arguments))
}

fn finish(command: &mut Command) -> Run {
    command.env_remove("CLICOLOR_FORCE").output().unwrap().into()
}

/// A configuration file in a directory of its own, which is gone with it.
struct Configuration {
    directory: TempDir,
    path: PathBuf,
}

fn configuration(bytes: impl AsRef<[u8]>) -> Configuration {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("g.toml");
    fs::write(&path, bytes).unwrap();
    set_mode(&path, 0o644);
    Configuration { directory, path }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn check(path: &Path) -> Run {
    gracekeeper(&["config".as_ref(), "check".as_ref(), path.as_os_str()])
}

/// Checks that a configuration is refused in exactly these words, `FILE` standing for its path.
fn assert_refused(path: &Path, code: i32, words: &str) {
    let run = check(path);
    let expected = words.replace("FILE", &path.display().to_string()) + "\n";
    assert_eq!(
        (run.code, run.stderr.as_str(), run.stdout.as_str()),
        (Some(code), expected.as_str(), "")
    );
}

#[test]
fn help_of_every_command_is_in_sentences_and_is_no_error() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["run", "--help"],
        &["demo", "--help"],
        &["doctor", "--help"],
        &["forget", "--help"],
        &["history", "--help"],
        &["metrics", "--help"],
        &["config", "--help"],
        &["config", "check", "--help"],
        &["config", "show", "--help"],
    ] {
        let run = gracekeeper(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        let first = run.stdout.lines().next().unwrap();
        assert!(first.ends_with('.'), "{arguments:?}: {first}");
        assert!(run.stdout.contains("Prints this help"), "{arguments:?}");
    }
}

#[test]
fn help_tells_the_defaults_and_hides_what_is_internal_or_not_there_yet() {
    let help = gracekeeper(&["--help"]).stdout;
    for word in ["/etc/gracekeeper/gracekeeper.toml", "127.0.0.1:10117", "/metrics", "logfmt"] {
        assert!(help.contains(word), "{word}");
    }
    for command in ["reader", "reload ", "guard", "hold", "fleet"] {
        assert!(!help.contains(&format!("  {command}")), "{command}");
    }
    let metrics = gracekeeper(&["metrics", "--help"]).stdout;
    assert!(!metrics.contains("--web.listen-address"), "{metrics}");
}

#[test]
fn the_version_is_printed() {
    let run = gracekeeper(&["--version"]);
    assert_eq!(run.code, Some(0));
    let expected = format!("gracekeeper {}", env!("CARGO_PKG_VERSION"));
    assert!(run.stdout.starts_with(&expected), "{}", run.stdout);
    assert_eq!(run.stdout.lines().count(), 1);
}

#[test]
fn wrong_usage_exits_with_64_and_says_what_is_wrong() {
    for (arguments, words) in [
        (&[][..], "Usage: gracekeeper"),
        (&["config"], "Usage: gracekeeper config"),
        (&["chekc"], "unrecognized subcommand 'chekc'"),
        (&["guard"], "unrecognized subcommand 'guard'"),
        (&["run", "x"], "unexpected argument 'x'"),
        (
            &["run", "--web.listen-adress", ":1"],
            "a similar argument exists: '--web.listen-address'",
        ),
        (&["run", "--web.listen-address", "10117"], "must be HOST:PORT"),
        (&["run", "--web.listen-address", ":65536"], "the port must be a number"),
        (&["run", "--web.telemetry-path", "metrics"], "must begin with /"),
        (&["run", "--log.level", "loud"], "possible values: error, warn, info, debug, trace"),
        (&["run", "--log.format", "xml"], "possible values: logfmt, json"),
        (&["run", "--config.file"], "a value is required"),
        (&["run", "--log.level", "info", "--log.level", "info"], "cannot be used multiple times"),
        (&["run", "--httpd.pid-file", ""], "cannot make an empty path absolute"),
        (&["metrics", "--json", "--markdown"], "cannot be used with"),
        (&["config", "check", "/a", "--config.file", "/b"], "cannot be used with"),
        (&["reader", "x"], "unexpected argument 'x'"),
    ] {
        let run = gracekeeper(arguments);
        assert_eq!(run.code, Some(64), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
        assert!(!run.stderr.contains('\u{1b}'), "colour, and no terminal: {:?}", run.stderr);
    }
}

#[test]
fn a_right_configuration_is_ok() {
    let right = configuration("[watch]\ninterval = \"2s\"\n");
    let run = check(&right.path);
    let expected = format!("{}: ok\n", right.path.display());
    assert_eq!((run.code, run.stdout, run.stderr.as_str()), (Some(0), expected, ""));
    let by_flag = gracekeeper(&[
        "--config.file".as_ref(),
        right.path.as_os_str(),
        "config".as_ref(),
        "check".as_ref(),
    ]);
    assert_eq!(by_flag.code, Some(0));
}

#[test]
fn a_setting_without_effect_is_a_warning() {
    let early = configuration("[reload]\nsettle = \"1s\"\n");
    let run = check(&early.path);
    assert_eq!(run.code, Some(0));
    let file = early.path.display();
    assert_eq!(run.stdout, format!("{file}: ok\n"));
    assert_eq!(run.stderr, format!("{file}:2: reload.settle: has no effect in this version\n"));
}

#[test]
fn wrong_settings_are_refused_with_line_and_key_by_every_command_that_reads_them() {
    let wrong = configuration(
        "[watch]\nintervall = \"1s\"\ninterval = 5\n\n[limits]\nrestart_timeout = \"1ms\"\n",
    );
    let words = "FILE:2: watch.intervall: unknown key; did you mean interval?\n\
                 FILE:3: watch.interval: must be a duration such as \"1s\", is the integer 5\n\
                 FILE:6: limits.restart_timeout: must be between 100ms and 24h, is 1ms";
    assert_refused(&wrong.path, 64, words);
    for command in [&["run"][..], &["config", "show"]] {
        let run = finish(Command::new(BINARY).args(command).arg("--config.file").arg(&wrong.path));
        assert_eq!(run.code, Some(64));
        assert_eq!(run.stderr, words.replace("FILE", &wrong.path.display().to_string()) + "\n");
    }
}

#[test]
fn what_is_not_toml_is_refused() {
    assert_refused(&configuration("[watch\n").path, 64, "FILE:1: unclosed table, expected `]`");
    assert_refused(
        &configuration("\n\u{7f}ELF\n").path,
        64,
        "FILE:2: key with no value, expected `=`",
    );
    assert_refused(
        &configuration(b"a = 1\n\xff\xfe\0").path,
        64,
        "FILE:2: must be UTF-8 text, is not",
    );
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
    assert_refused(&fifo, 64, "read FILE: must be a regular file, is a FIFO");
    assert_refused(directory.path(), 64, "read FILE: must be a regular file, is a directory");
    assert_refused(Path::new("/dev/zero"), 64, "read FILE: must be a regular file, is a device");
    let missing = directory.path().join("missing");
    assert_refused(&missing, 64, "read FILE: no such file or directory");
}

#[test]
fn what_is_longer_than_a_configuration_is_refused() {
    let long = configuration(vec![b'\n'; 2 << 20]);
    assert_refused(&long.path, 64, "read FILE: must be at most 1 MiB long, is longer");
}

#[test]
fn a_file_that_one_may_not_read_is_a_matter_of_permission() {
    let secret = configuration("");
    let expected = format!("read {}: permission denied\n", secret.path.display());
    set_mode(&secret.path, 0o000);
    set_mode(secret.directory.path(), 0o755);
    let run = as_nobody_special(&secret);
    assert_eq!((run.code, run.stderr), (Some(77), expected));
}

/// Root may read everything, so root checks as nobody; anybody else as themselves.
fn as_nobody_special(configuration: &Configuration) -> Run {
    if !geteuid().is_root() {
        return check(&configuration.path);
    }
    // The build's directory may be one that nobody else may enter.
    let binary = configuration.directory.path().join("gracekeeper");
    program::copy(Path::new(BINARY), &binary);
    let mut command = Command::new(binary);
    command.args(["config", "check"]).arg(&configuration.path).uid(NOBODY).gid(NOBODY);
    finish(&mut command)
}

#[test]
fn root_refuses_a_file_that_others_may_write_and_others_do_not_mind() {
    let open = configuration("");
    for mode in [0o666, 0o664, 0o602] {
        set_mode(&open.path, mode);
        if geteuid().is_root() {
            let words = format!(
                "read FILE: must be writable by root alone, as gracekeeper runs as root; \
                 its mode is {mode:04o}, its owner 0"
            );
            assert_refused(&open.path, 64, &words);
        } else {
            assert_eq!(check(&open.path).code, Some(0));
        }
    }
}

#[test]
fn root_refuses_a_file_of_somebody_else() {
    let foreign = configuration("");
    if !geteuid().is_root() {
        assert_eq!(check(&foreign.path).code, Some(0), "one's own");
        return;
    }
    std::os::unix::fs::chown(&foreign.path, Some(NOBODY), None).unwrap();
    let words = "read FILE: must be writable by root alone, as gracekeeper runs as root; \
                 its mode is 0644, its owner 65534";
    assert_refused(&foreign.path, 64, words);
    set_mode(foreign.directory.path(), 0o755);
    assert_eq!(as_nobody_special(&foreign).code, Some(0), "who is not root reads it");
}

#[test]
fn root_refuses_a_directory_that_everybody_may_write_unless_it_is_sticky() {
    let shared = configuration("");
    let directory = shared.directory.path();
    set_mode(directory, 0o1777);
    assert_eq!(check(&shared.path).code, Some(0));
    set_mode(directory, 0o777);
    // Behind a link, the link's directory counts too.
    let elsewhere = configuration("");
    let link = directory.join("link.toml");
    symlink(&elsewhere.path, &link).unwrap();
    for path in [&shared.path, &link] {
        if geteuid().is_root() {
            let words = format!(
                "read FILE: its directory {} must not be writable by everybody, \
                 as gracekeeper runs as root; its mode is 0777",
                directory.display()
            );
            assert_refused(path, 64, &words);
        } else {
            assert_eq!(check(path).code, Some(0));
        }
    }
}

#[test]
fn every_effective_setting_is_shown_with_its_origin() {
    let file = configuration("[watch]\ninterval = \"2s\"\n[reload]\nsettle = \"5s\"\n");
    let arguments =
        ["config", "show", "--log.level=debug", "--web.listen-address=:1", "--config.file"];
    let table = finish(Command::new(BINARY).args(arguments).arg(&file.path));
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    // The temporary path is as long as it likes to be.
    let name = file.path.display().to_string();
    let rows: Vec<String> = table
        .stdout
        .replace(&name, "FILE")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
        .collect();
    insta::assert_snapshot!(rows.concat());
    let json = finish(Command::new(BINARY).args(arguments).arg(&file.path).arg("--json"));
    let json: Vec<serde_json::Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json.len(), rows.len());
    let expected = serde_json::json!({
        "key": "watch.interval", "value": "2s", "origin": format!("{name}:2"), "in_effect": true
    });
    assert_eq!(json.first(), Some(&expected));
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let file = configuration("");
    let null = fs::OpenOptions::new().write(true).mode(0o600).open("/dev/null").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(BINARY);
    command.args(["config", "show", "--config.file"]).arg(&file.path);
    let status = command.stdout(writer).stderr(null).status().unwrap();
    assert_eq!(status.code(), Some(0));
}
