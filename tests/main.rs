//! One integration crate: one link step.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that fails says so by panicking; tests start programs, threads and clocks of their own"
)]

mod cli;
mod fuzz_corpora;
mod http;
mod scoreboard_dumps;
mod tracker_laws;
