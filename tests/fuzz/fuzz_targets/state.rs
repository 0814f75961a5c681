//! Any bytes as `servers.json`.
#![no_main]

mod state_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| state_input::run(input));
