//! The corpora of the fuzz targets, run by a plain `cargo test`.

use std::{fs, path::Path};

#[path = "fuzz/fuzz_targets/process_input.rs"]
mod process_input;
#[path = "fuzz/fuzz_targets/scoreboard_input.rs"]
mod scoreboard_input;
#[path = "fuzz/fuzz_targets/state_input.rs"]
mod state_input;

pub(crate) use scoreboard_input::check;

fn survives(target: &str, at_least: usize, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() >= at_least, "{target}: {} inputs", inputs.len());
    for input in inputs {
        run(&fs::read(&input).unwrap());
    }
}

#[test]
fn the_corpus_of_scoreboards_is_survived() {
    survives("scoreboard", 20, scoreboard_input::run);
}

#[test]
fn the_corpus_of_pid_files_is_survived() {
    survives("pid_file", 8, process_input::pid_file);
}

#[test]
fn the_corpus_of_process_stats_is_survived() {
    survives("process_stat", 8, process_input::process_stat);
}

#[test]
fn the_corpus_of_command_lines_is_survived() {
    survives("command_line", 8, process_input::command_line);
}

#[test]
fn the_corpus_of_main_configurations_is_survived() {
    survives("main_configuration", 8, process_input::main_configuration);
}

#[test]
fn the_corpus_of_states_is_survived() {
    let believed = std::cell::Cell::new(0);
    survives("state", 12, |input| {
        let document = gracekeeper::state::document::Document::decode(input);
        believed.set(believed.get() + i32::from(document.is_ok()));
        state_input::run(input);
    });
    assert!(believed.get() >= 9, "only {} are believed", believed.get());
}
