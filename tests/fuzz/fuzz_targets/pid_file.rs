//! Any bytes as a pid file.
#![no_main]

#[allow(dead_code, reason = "one file for six targets")]
mod process_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| process_input::pid_file(input));
