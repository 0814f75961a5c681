//! Any bytes as a main configuration.
#![no_main]

#[allow(dead_code, reason = "one file for six targets")]
mod process_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| process_input::main_configuration(input));
