//! Any bytes as what httpd answers: server_status.
#![no_main]

#[allow(dead_code, reason = "one file for six targets")]
mod answer_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| answer_input::server_status(input));
