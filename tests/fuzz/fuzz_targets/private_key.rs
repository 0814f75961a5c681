//! Any bytes as a file of TLS: a private key.
#![no_main]

#[allow(dead_code, reason = "one file for two targets")]
mod tls_input;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    tls_input::private_key(input);
});
