//! Any bytes as counters of a network namespace.
#![no_main]

#[allow(dead_code, reason = "one file for two targets")]
mod socket_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| socket_input::netstat(input));
