//! Any bytes as what the kernel tells of a descriptor.
#![no_main]

#[allow(dead_code, reason = "one file for two targets")]
mod kernel_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| kernel_input::descriptor_flags(input));
