//! The corpus of the fuzz target, run by a plain `cargo test`.

use std::{fs, path::Path};

#[path = "fuzz/fuzz_targets/scoreboard_input.rs"]
mod scoreboard_input;

pub(crate) use scoreboard_input::check;

#[test]
fn the_corpus_of_the_fuzz_target_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/scoreboard");
    let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() >= 20, "{} inputs", inputs.len());
    for input in inputs {
        scoreboard_input::run(&fs::read(&input).unwrap());
    }
}
