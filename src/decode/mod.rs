//! Bytes to values: total functions that never panic, whatever the bytes.

pub mod scoreboard;
