//! One integration crate: one link step.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::float_cmp,
    reason = "a test that fails says so by panicking; tests start programs, threads and clocks of their own; what a counter shows is exact"
)]

mod alerting;
mod asking;
mod cli;
mod demo;
mod doctor;
mod drift;
mod drift_laws;
mod error_logs;
mod failures;
mod file_changes;
mod finding;
mod fuzz_corpora;
mod harness;
mod harness_itself;
mod headroom;
mod held_files;
mod history;
mod http;
mod journal;
mod log_follower;
mod logs;
mod memory;
mod ordinary_users;
mod passphrase;
mod repository;
mod restarts;
mod running;
mod scoreboard_dumps;
mod settings;
mod several_servers;
mod stragglers;
mod tls_probe;
mod tracker_laws;
