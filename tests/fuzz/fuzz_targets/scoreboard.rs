//! Any bytes as a scoreboard, with any family.
#![no_main]

mod scoreboard_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| scoreboard_input::run(input));
