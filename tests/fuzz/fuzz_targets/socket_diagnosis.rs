//! Any bytes as the kernel's answer about sockets.
#![no_main]

#[allow(dead_code, reason = "one file for two targets")]
mod socket_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| socket_input::socket_diagnosis(input));
