//! Any bytes as scripts, crontabs and configurations.
#![no_main]

#[allow(dead_code, reason = "one file for two targets")]
mod host_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    host_input::callers(input);
});
