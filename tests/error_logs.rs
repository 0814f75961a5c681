//! Captured error logs, read by the decoder: no lifecycle line is missed, none is invented.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use gracekeeper::{
    decode::error_log::{Counts, LineSplitter, line},
    model::{
        log::{Lifecycle, LogCode, LogLevel},
        process::Pid,
    },
};
use proptest::prelude::*;

use crate::fuzz_corpora::run_error_log;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/error_logs")
}

fn captures() -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let logs = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    logs.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

fn counted(log: &[u8]) -> Counts {
    let mut counts = Counts::default();
    let mut splitter = LineSplitter::default();
    for chunk in log.chunks(1000) {
        assert_eq!(splitter.feed(chunk, |line| counts.take(line)), 0);
    }
    splitter.cut(|line| counts.take(line));
    counts
}

/// What a person reads in lifecycle lines alone. A stop's line may come at its end, a second
/// restart's before the first is over.
fn conclusions(says: impl Iterator<Item = Lifecycle>) -> Vec<String> {
    let mut told = Vec::new();
    let mut restart: Option<Lifecycle> = None;
    let mut is_up = false;
    for says in says {
        match says {
            Lifecycle::Resumed if !is_up => told.push("start".to_owned()),
            Lifecycle::Resumed => {
                let kind = restart.take().map_or("unseen", Lifecycle::label);
                told.push(format!("restart:{kind}:resumed"));
            }
            Lifecycle::Graceful | Lifecycle::Hard => restart = Some(says),
            Lifecycle::Stopped => told.push("stop:stop".to_owned()),
            Lifecycle::GracefulStop => told.push("stop:graceful_stop".to_owned()),
        }
        is_up = !matches!(says, Lifecycle::Stopped | Lifecycle::GracefulStop);
    }
    if let Some(kind) = restart {
        told.push(format!("restart:{}:failed", kind.label()));
    }
    told
}

#[test]
fn every_line_with_a_code_is_found_in_the_captures() {
    let mut lifecycle = 0;
    for (name, log) in captures() {
        for text in log.split(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(text);
            // In the captures, the first word of this form is the code.
            let word = text.match_indices("AH").map(|(at, _)| &text[at..]).find_map(|from_here| {
                let (word, _) = from_here.split_once(':')?;
                let is_code =
                    word.len() >= 7 && word[2..].bytes().all(|byte| byte.is_ascii_digit());
                is_code.then_some(word)
            });
            let known = |word| LogCode::ALL.iter().find(|code| code.label() == word);
            let expected = word.map(|word| known(word).copied().unwrap_or(LogCode::Other));
            let found = line(text.as_bytes()).code;
            assert_eq!(found, expected, "{name}: {text}");
            lifecycle += usize::from(found.is_some_and(|code| code.lifecycle().is_some()));
        }
    }
    assert_eq!(lifecycle, 665);
}

#[test]
fn every_level_and_every_pid_is_found_in_the_captures() {
    let mut levels = BTreeSet::new();
    for (name, log) in captures() {
        for text in log.split(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(text);
            let bracketed = |level: &&LogLevel| {
                let word = level.label();
                let word = if word == "trace" { "trace1" } else { word };
                text.contains(&format!(":{word}] "))
            };
            let level = LogLevel::ALL.iter().find(bracketed).copied().unwrap_or(LogLevel::None);
            let pid = text
                .split_once("[pid ")
                .map(|(_, pid)| pid.split([':', ']']).next().unwrap().parse::<i32>().unwrap());
            let found = line(text.as_bytes());
            assert_eq!(found.level, level, "{name}: {text}");
            assert_eq!(found.pid.map(Pid::as_raw), pid, "{name}: {text}");
            levels.insert(found.level);
        }
    }
    assert!(levels.len() > 8, "{levels:?}");
}

#[test]
fn lifecycle_lines_tell_what_happened_in_every_capture() {
    let expected = fs::read(folder().join("expected.json")).unwrap();
    let expected: BTreeMap<String, Vec<String>> = serde_json::from_slice(&expected).unwrap();
    let captures = captures();
    let mut differing = Vec::new();
    for (names, happened) in &expected {
        let log: Vec<u8> = names.split(' ').flat_map(|name| captures[name].clone()).collect();
        let counts = counted(&log);
        let told = conclusions(counts.lifecycle().iter().map(|line| line.says));
        // The reason of a failure is in other lines.
        let happened: Vec<_> = happened
            .iter()
            .map(|what| {
                what.split_once(":failed")
                    .map_or(what.clone(), |(what, _)| format!("{what}:failed"))
            })
            .collect();
        if told != happened {
            differing.push(format!("{names}: {told:?}, not {happened:?}"));
        }
    }
    assert!(differing.is_empty(), "{} of {}: {differing:#?}", differing.len(), expected.len());
}

#[test]
fn formats_of_an_operators_own_tell_the_same() {
    let restarts = ["start", "restart:graceful:resumed", "restart:hard:resumed", "stop:stop"];
    let logs: Vec<_> = fs::read_dir(folder().join("own_formats")).unwrap().collect();
    assert_eq!(logs.len(), 14);
    for path in logs.into_iter().map(|entry| entry.unwrap().path()) {
        let log = fs::read(&path).unwrap();
        let counts = counted(&log);
        let lifecycle = counts.lifecycle();
        let told = conclusions(lifecycle.iter().map(|line| line.says));
        assert_eq!(told, restarts, "{}", path.display());
        // "removed PID file .. (pid=4711)" tells the parent's, whatever the format.
        let log = String::from_utf8(log).unwrap();
        let (parent, _) = log.split_once("(pid=").unwrap().1.split_once(')').unwrap();
        let parent = Pid::new(parent.parse().unwrap());
        assert!(lifecycle.iter().all(|line| line.pid.is_none() || line.pid == parent));
        let coded = counts.events().map(|(_, count)| count).sum::<u64>();
        assert_eq!(coded, log.lines().count() as u64, "{}: every line has one", path.display());
        let has_levels = !path.ends_with("event-json-with-client.log")
            && !path.ends_with("prefork-json-with-client.log");
        let without = counts.lines().any(|(level, _)| level == LogLevel::None);
        assert_eq!(without, !has_levels, "{}", path.display());
    }
}

proptest! {
    /// What the fuzz target holds, of captures that were cut and written into.
    #[test]
    fn damaged_captures_are_read_whatever_the_chunks(
        capture in any::<prop::sample::Index>(),
        start in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..60),
        chunks in any::<[u8; 2]>(),
    ) {
        let captures: Vec<_> = captures().into_values().filter(|log| !log.is_empty()).collect();
        let log = capture.get(&captures);
        let start = start.index(log.len());
        let mut input = chunks.to_vec();
        input.extend(log[start..].iter().take(4000));
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        run_error_log(&input);
    }
}
