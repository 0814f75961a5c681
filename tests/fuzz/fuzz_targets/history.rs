//! Any bytes as an error log that history tells of.
#![no_main]

mod history_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| history_input::run(input));
