//! Any bytes as the kernel's tables of System V objects.
#![no_main]

#[allow(dead_code, reason = "one file for two targets")]
mod kernel_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| kernel_input::sysvipc(input));
