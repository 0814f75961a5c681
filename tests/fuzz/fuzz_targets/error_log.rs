//! Any bytes as an error log, in chunks of any size.
#![no_main]

mod error_log_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| error_log_input::run(input));
