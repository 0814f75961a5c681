//! Bytes to values: total functions that never panic, whatever the bytes.

pub mod base_arguments;
pub mod build_settings;
pub mod cgroup;
pub mod command_line;
pub mod descriptor_limit;
pub mod directives;
pub mod error_log;
pub mod helper_command;
pub mod includes;
pub mod inclusions;
pub mod journal;
pub mod main_configuration;
pub mod modules;
pub mod netstat;
pub mod number;
pub mod pass_phrase_dialog;
pub mod pid_file;
pub mod process_memory;
pub mod process_stat;
pub mod run_configuration;
pub mod scoreboard;
pub mod server_status;
pub mod socket_diagnosis;
pub mod sysvipc;
