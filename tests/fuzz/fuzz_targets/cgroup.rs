//! Any bytes as what the kernel says of cgroups.
#![no_main]

mod cgroup_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| cgroup_input::run(input));
