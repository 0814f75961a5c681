//! Bytes to values: total functions that never panic, whatever the bytes.

pub mod command_line;
pub mod error_log;
pub mod main_configuration;
pub mod pid_file;
pub mod process_stat;
pub mod scoreboard;
