//! Any bytes as a process stat.
#![no_main]

#[allow(dead_code, reason = "one file for six targets")]
mod process_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| process_input::process_stat(input));
