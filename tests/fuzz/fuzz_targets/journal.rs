//! Any bytes as `journal.jsonl`.
#![no_main]

mod journal_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    journal_input::run(input);
});
