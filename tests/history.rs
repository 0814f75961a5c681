//! `history` through the real binary, over logs of a real httpd and over journals.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::{cli::Run, harness::program};

mod laws;

const BINARY: &str = env!("CARGO_BIN_EXE_gracekeeper");
/// Owns nothing, on every Linux.
const NOBODY: u32 = 65534;

fn logs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/error_logs")
}

fn history(arguments: &[&str], directory: &Path, input: &[u8]) -> Run {
    let mut command = Command::new(BINARY);
    command.arg("history").args(arguments).current_dir(directory).stdin(Stdio::piped());
    finish(command, input)
}

fn finish(mut command: Command, input: &[u8]) -> Run {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    // Whoever refuses its arguments reads nothing.
    drop(child.stdin.take().unwrap().write_all(input));
    child.wait_with_output().unwrap().into()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What `--json` tells of starts, restarts and stops, as `expected.json` writes it.
fn told(run: &Run) -> Vec<String> {
    let is_timeless = run.stderr.ends_with(": no line tells a time: the file's is told\n");
    assert!(run.code == Some(0) && (run.stderr.is_empty() || is_timeless), "{}", run.stderr);
    let mut told = Vec::new();
    let mut before = String::new();
    for line in run.stdout.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let at = entry["at"].as_str().unwrap().to_owned();
        assert!(before <= at, "{before} is told before {at}");
        before = at;
        assert_eq!(entry["evidence"], serde_json::json!(["error_log"]));
        assert_eq!(entry["approximate"].as_bool(), is_timeless.then_some(true));
        let event = entry["event"].as_str().unwrap();
        if matches!(event, "start" | "restart" | "stop") {
            let fields = ["type", "outcome", "reason"].map(|field| entry[field].as_str());
            let words: Vec<_> = [Some(event)].into_iter().chain(fields).flatten().collect();
            told.push(words.join(":"));
        }
    }
    told
}

#[test]
fn every_capture_is_told_as_it_was() {
    let mut wrong = Vec::new();
    for directory in [logs(), logs().with_file_name("restarts")] {
        wrong.extend(told_otherwise(&directory));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The logs of a directory whose stories are not those of its `expected.json`.
fn told_otherwise(directory: &Path) -> Vec<String> {
    let expected = fs::read(directory.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let mut wrong = Vec::new();
    for (names, story) in expected.as_object().unwrap() {
        // The newest first, as a shell lists them.
        let names: Vec<_> = names.split(' ').rev().collect();
        let arguments = [&["--json", "--timezone", "UTC"][..], &names].concat();
        let told = Value::from(told(&history(&arguments, directory, b"")));
        if told != *story {
            wrong.push(format!("{names:?}: {told} is not {story}"));
        }
    }
    wrong
}

#[test]
fn logs_of_other_formats_are_told_alike() {
    let mut seen = 0;
    for entry in fs::read_dir(logs().join("own_formats")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let told = told(&history(&["--json", path.to_str().unwrap()], &logs(), b""));
        let expected =
            ["start", "restart:graceful:resumed", "restart:hard:resumed", "stop:stop"].as_slice();
        assert_eq!(told, expected, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} logs");
}

#[test]
fn rotated_logs_are_one_story_however_they_are_named_packed_and_piped() {
    let whole = fs::read_to_string(logs().join("event-stop-start.log")).unwrap();
    let plain = history(&["--json", "--timezone", "UTC", "-"], &logs(), whole.as_bytes());
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    let graceful = lines.iter().position(|line| line.contains("AH00493")).unwrap();
    let hard = lines.iter().position(|line| line.contains("AH00494")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write("error_log.2.gz", &gzip(lines[..=graceful].concat().as_bytes()));
    // Two members, as if it had been appended to; its name does not say that it is packed.
    let (one, two) = lines[graceful + 1..=hard].split_at(2);
    write("error_log.1", &[gzip(one.concat().as_bytes()), gzip(two.concat().as_bytes())].concat());
    write("error_log", lines[hard + 1..].concat().as_bytes());
    for names in [
        ["error_log", "error_log.1", "error_log.2.gz"],
        ["error_log.2.gz", "error_log", "error_log.1"],
        ["error_log.1", "error_log", "error_log.2.gz"],
    ] {
        let arguments = [&["--json", "--timezone", "UTC"][..], &names].concat();
        let run = history(&arguments, directory.path(), b"");
        assert_eq!(run.stdout, plain.stdout, "{names:?}: {}", run.stderr);
    }
    assert!(plain.stdout.lines().count() >= 8, "{}", plain.stdout);
    let packed = history(&["--json", "--timezone", "UTC", "-"], &logs(), &gzip(whole.as_bytes()));
    assert_eq!(packed.stdout, plain.stdout);
    let gzip = gzip(whole.as_bytes());
    let cut = history(&["--json", "--timezone", "UTC", "-"], &logs(), &gzip[..gzip.len() - 9]);
    assert!(plain.stdout.starts_with(&cut.stdout) && cut.code == Some(70), "{}", cut.stderr);
    assert!(cut.stderr.contains("standard input"), "{}", cut.stderr);
}

/// A line of a parent at a second past ten.
fn at(second: u32, pid: u32, message: &str) -> String {
    format!("[Sun Nov 22 10:00:{second:02}.0001 2026] [x:notice] [pid {pid}:tid {pid}] {message}\n")
}

#[test]
fn what_no_line_tells_is_concluded_from_the_lines_that_follow() {
    const RESUMED: &str =
        "AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations";
    const GRACEFUL: &str = "AH00493: SIGUSR1 received.  Doing graceful restart";
    const FATAL: &str = "AH00050: Child 12 returned a Fatal error... Apache is exiting!";
    const IGNORED: &str = "AH00487: Ignoring fatal error in child of previous generation (pid 12).";
    const UNCLEAN: &str = "AH00098: pid file /x overwritten -- Unclean shutdown";
    let (one, two) = (at(1, 1, RESUMED), at(20, 2, RESUMED));
    let (again, graceful, fatal) = (at(20, 1, RESUMED), at(5, 1, GRACEFUL), at(4, 1, FATAL));
    let syntax = "AH00526: Syntax error on line 5 of /x:\nInvalid command 'Y'\n".to_owned();
    let cases: &[(&[&String], &[&str])] = &[
        (&[&one, &fatal], &["start", "stop:crash"]),
        (&[&one, &fatal, &two], &["start", "stop:crash", "start"]),
        (
            &[&one, &fatal, &at(4, 1, IGNORED), &graceful, &again],
            &["start", "restart:graceful:resumed"],
        ),
        (&[&one, &graceful], &["start", "restart:graceful:in_progress"]),
        (&[&one, &graceful, &two], &["start", "restart:graceful:failed:unknown", "start"]),
        (
            &[&one, &graceful, &two, &at(21, 1, RESUMED)],
            &["start", "restart:graceful:resumed", "start"],
        ),
        (&[&one, &graceful, &syntax], &["start", "restart:graceful:failed:config"]),
        // In a container the next parent has the same pid.
        (
            &[&one, &graceful, &syntax, &again],
            &["start", "restart:graceful:failed:config", "start"],
        ),
        (&[&one, &at(19, 1, UNCLEAN), &again], &["start", "start"]),
        (&[&one, &again], &["start", "restart:unknown:resumed"]),
    ];
    for (lines, expected) in cases {
        let log: String = lines.iter().map(|line| line.as_str()).collect();
        assert_eq!(told(&history(&["--json", "-"], &logs(), log.as_bytes())), *expected, "{log}");
    }
}

#[test]
fn times_are_the_hosts_own_unless_a_zone_is_named() {
    let mut command = Command::new(BINARY);
    command.args(["history", "--json", "-"]).env("TZ", "America/New_York");
    let line = at(1, 1, "AH00491: caught SIGTERM, shutting down");
    let run = finish(command, line.as_bytes());
    assert!(run.stdout.starts_with("{\"at\":\"2026-11-22T15:00:01.000100Z\""), "{}", run.stdout);
    let named = history(&["--json", "--timezone", "Asia/Kolkata", "-"], &logs(), line.as_bytes());
    assert!(named.stdout.contains("2026-11-22T04:30:01.000100Z"), "{}", named.stdout);
}

#[test]
fn people_get_a_table_and_a_paragraph() {
    let names = [
        "event-stop-start.log",
        "event-ssl-exec-hang-graceful.log",
        "prefork-graceful-semaphore-exhausted.log",
        "worker-hard-inflight.log",
        "worker-graceful-badconfig-raw-usr1.log",
    ];
    let berlin = ["--timezone", "Europe/Berlin", "--server", "web"];
    let table = history(&[&berlin[..], &names].concat(), &logs(), b"");
    insta::assert_snapshot!("history_table", table.stdout + &table.stderr);
    let summary = history(&[&berlin[..], &["--summary"], &names].concat(), &logs(), b"");
    insta::assert_snapshot!("history_summary", summary.stdout + &summary.stderr);
    let nothing = history(&["--summary", "-"], &logs(), b"");
    assert_eq!(nothing.stdout, "Nothing is told of any start, restart or stop.\n");
    assert_eq!(history(&["-"], &logs(), b"").stdout, "");
}

#[test]
fn what_cannot_be_read_is_named_with_the_exit_code_of_its_kind() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = directory.path().join("secret.log");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    fs::write(directory.path().join("log.xz"), b"\xfd7zXZ\0...").unwrap();
    // The build's directory may be one that nobody else may enter.
    let binary = directory.path().join("gracekeeper");
    program::copy(Path::new(BINARY), &binary);
    for (arguments, code, words) in [
        (&["nothing.log"][..], 64, "nothing.log: No such file"),
        (&["."], 64, "is a directory"),
        (&["log.xz"], 64, "compressed with xz"),
        (&["--timezone", "Mars/Olympus", "-"], 64, "\"Mars/Olympus\" is no time zone"),
        (&["--json", "--summary", "-"], 64, "cannot be used with"),
        (&["secret.log"], 77, "secret.log: Permission denied"),
    ] {
        let mut command = Command::new(&binary);
        command.arg("history").args(arguments).current_dir(directory.path());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let run = finish(command, b"");
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(words) && run.stdout.is_empty(), "{}", run.stderr);
    }
}

#[test]
fn without_a_log_the_journal_is_read_with_its_older_files() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let configuration = directory.path().join("g.toml");
    fs::write(&configuration, format!("[watch]\nstate_dir = {:?}\n", state.display())).unwrap();
    let read = |shape: &[&str]| {
        let flag = ["--config.file", configuration.to_str().unwrap(), "--timezone", "UTC"];
        history(&[&flag[..], shape].concat(), directory.path(), b"")
    };
    let none = read(&[]);
    assert_eq!(none.code, Some(64), "{}", none.stderr);
    assert!(none.stderr.contains("has written no journal there"), "{}", none.stderr);

    fs::create_dir(&state).unwrap();
    let line = |second: u32, server: &str| {
        format!(
            "{{\"at\":\"2026-11-22T10:00:{second:02}.000000Z\",\"server\":\"{server}\",\
            \"event\":\"restart\",\"type\":\"graceful\",\"outcome\":\"resumed\",\
            \"duration_seconds\":0.05,\"origin\":\"other\",\"suspects\":[\"logrotate\",\"sh\"],\
            \"evidence\":[\"scoreboard\"]}}\n"
        )
    };
    let write = |name: &str, text: String| fs::write(state.join(name), text).unwrap();
    write("journal.jsonl.10", line(1, "a"));
    write("journal.jsonl.2", line(2, "b") + "{\"torn\n" + &line(3, "\\u001b[2Ja"));
    write("journal.jsonl", line(4, "a") + "\n{\"at\":");
    write("journal.jsonl.new", "x".to_owned());
    let json = read(&["--json"]);
    let (first, last) = (line(1, "a"), line(4, "a"));
    assert!(json.stdout.starts_with(&first) && json.stdout.ends_with(&last), "{}", json.stdout);
    assert_eq!((json.code, json.stdout.lines().count()), (Some(0), 4));
    let warnings: Vec<_> = json.stderr.lines().collect();
    assert!(warnings[0].contains("journal.jsonl.2: line 2 is no entry"), "{warnings:?}");
    assert!(warnings[1].contains("journal.jsonl: line 3 is no entry"), "{warnings:?}");
    let table = read(&[]).stdout;
    assert!(table.contains("logrotate < sh") && !table.contains('\x1b'), "{table}");
    assert_eq!(read(&["--summary"]).stdout.lines().filter(|line| !line.is_empty()).count(), 3);
}

#[test]
fn a_log_that_is_broken_or_named_twice_changes_nothing_of_what_the_others_tell() {
    let whole = fs::read(logs().join("event-stop-start.log")).unwrap();
    let packed = gzip(&whole);
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write("error_log.1", &whole);
    write("error_log.1.gz", &packed);
    write("copied", &whole[..whole.len() / 2]);
    write("padded.gz", &[&packed[..], &[0; 512]].concat());
    write("torn\u{1b}[31m\u{202e}.gz", &packed[..7]);
    let run = |names: &[&str]| {
        let arguments = [&["--json", "--timezone", "UTC"][..], names].concat();
        history(&arguments, directory.path(), b"")
    };
    let plain = run(&["error_log.1"]);
    let twice = run(&["copied", "error_log.1.gz", "error_log.1", "padded.gz"]);
    assert_eq!((twice.code, &twice.stdout), (Some(0), &plain.stdout), "{}", twice.stderr);
    assert_eq!(twice.stderr.matches("has all that is in it: left out").count(), 3);
    let torn = run(&["error_log.1", "torn\u{1b}[31m\u{202e}.gz"]);
    assert_eq!((torn.code, &torn.stdout), (Some(70), &plain.stdout), "{}", torn.stderr);
    assert!(torn.stderr.contains("torn\\x1b[31m\\u{202e}.gz: "), "{}", torn.stderr);
    assert!(!torn.stderr.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn as_many_logs_may_be_named_as_the_hard_limit_allows() {
    let line = at(1, 1, "AH00491: caught SIGTERM, shutting down");
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..100).map(|number| format!("error_log.{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let line = line.replace("10:00", &format!("{:02}:{:02}", number / 60, number % 60));
        fs::write(directory.path().join(name), line).unwrap();
    }
    let mut command = Command::new("sh");
    let script = "ulimit -S -n 40; exec \"$@\"";
    command.args(["-c", script, "sh", BINARY, "history", "--json"]).args(&names);
    command.current_dir(directory.path());
    let run = finish(command, b"");
    assert_eq!((run.code, run.stdout.lines().count()), (Some(0), 100), "{}", run.stderr);
}

#[test]
fn a_log_without_times_says_that_its_times_are_the_files() {
    let log = "AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations\n\
        AH00491: caught SIGTERM, shutting down\n";
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("bare.log"), log).unwrap();
    let run = |shape: &[&str]| history(&[shape, &["bare.log"]].concat(), directory.path(), b"");
    let json = run(&["--json"]);
    assert_eq!(json.stderr, "gracekeeper: bare.log: no line tells a time: the file's is told\n");
    assert_eq!(json.stdout.matches(",\"approximate\":true}").count(), 2, "{}", json.stdout);
    let table = run(&[]).stdout;
    assert_eq!(table.lines().filter(|line| line.starts_with('~')).count(), 2, "{table}");
    let summary = run(&["--summary"]).stdout;
    assert!(summary.starts_with("At times that the log does not tell (~"), "{summary}");
}

#[test]
fn one_restart_is_summed_up_in_plain_words() {
    let log = at(1, 1, "AH00493: SIGUSR1 received.  Doing graceful restart")
        + &at(17, 1, "AH00489: Apache/2.4.71 configured -- resuming normal operations");
    let arguments = ["--summary", "--timezone", "UTC", "-"];
    let once = history(&arguments, &logs(), log.as_bytes()).stdout;
    let words = "At 2026-11-22 10:00:01.000 (UTC) httpd was restarted once, gracefully (16.0 s).\n";
    assert_eq!(once, words);
    let syntax = "AH00526: Syntax error on line 5 of /x:\nInvalid command 'Y'\n";
    let failures: String = (0..5)
        .map(|number| {
            let resumed = at(number * 5, number + 1, "AH00489: Apache configured -- resuming");
            resumed + &at(number * 5 + 1, number + 1, "AH00493: SIGUSR1 received.") + syntax
        })
        .collect();
    let many = history(&arguments, &logs(), failures.as_bytes()).stdout;
    assert!(many.contains("was restarted 4 times, by a new start."), "{many}");
    assert!(
        many.contains("A restart failed 5 times: twice before, at 2026-11-22 10:00:11"),
        "{many}"
    );
    assert!(many.contains("10:00:21.000 (config: AH00526"), "{many}");
}

/// A journal that somebody else may write, and what `history` makes of it.
#[test]
fn a_journal_is_told_in_the_order_of_time_whatever_else_lies_there() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("g.toml");
    fs::write(&configuration, format!("[watch]\nstate_dir = {:?}\n", directory.path())).unwrap();
    let stop = |second: u32, server: &str, more: &str| {
        format!(
            "{{\"at\":\"2026-11-22T10:00:{second:02}.000000Z\",\"server\":\"{server}\",\
            \"event\":\"stop\",\"type\":\"stop\",\"more\":\"{more}\"}}\n"
        )
    };
    let read = |arguments: &[&str]| {
        let flag = ["--config.file", configuration.to_str().unwrap()];
        history(&[&flag[..], &["--json"], arguments].concat(), directory.path(), b"")
    };
    let path = |name: &str| directory.path().join(name);
    let long = "x".repeat(12_000);
    let lines = stop(9, "b", "") + &stop(3, "a", &long) + &stop(5, "a\u{9b}\u{202e}", "");
    fs::write(path("journal.jsonl.1"), lines + &"y".repeat(40_000) + "\n").unwrap();
    fs::write(path("elsewhere"), stop(4, "stranger", "")).unwrap();
    std::os::unix::fs::symlink("elsewhere", path("journal.jsonl.2")).unwrap();
    fs::create_dir(path("journal.jsonl.7")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("journal.jsonl"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let all = read(&[]);
    let seconds: Vec<_> = all.stdout.lines().map(|line| &line[24..26]).collect();
    assert_eq!((all.code, seconds), (Some(0), vec!["03", "05", "09"]), "{}", all.stderr);
    assert!(all.stdout.contains("\"a\\u009b\\u202e\""), "{}", all.stdout);
    let warnings = all.stderr.lines().filter(|line| line.ends_with("is no regular file: left out"));
    assert_eq!(warnings.count(), 3, "{}", all.stderr);
    assert!(all.stderr.contains("journal.jsonl.1: line 4 is no entry"), "{}", all.stderr);
    let one = read(&["--server", "b"]);
    assert_eq!(one.stdout.lines().count(), 1, "{}", one.stdout);
    let secret = path("journal.jsonl.1");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        eprintln!("NOT TESTED, as this is root: a journal that must not be read");
        return;
    }
    let none = read(&[]);
    assert_eq!(none.code, Some(77), "{}", none.stderr);
    assert!(none.stderr.contains("as the user that gracekeeper runs as"), "{}", none.stderr);
}
