//! One file per outside thing: reads, stamps, hands over.

pub mod asked;
pub mod children;
pub mod discovery;
pub mod environment;
pub mod error_log;
pub mod inquiry;
pub mod kernel;
pub mod log_source;
pub mod main_configuration;
pub mod moments;
pub mod onlooker;
pub mod own_process;
pub mod pid_file;
pub mod pid_file_place;
pub mod privileges;
pub mod process_group;
pub mod process_table;
pub mod reader;
pub mod regular_file;
pub mod scoreboard;
pub mod server;
pub mod server_status;
pub mod status_source;
pub mod suspects;
pub mod waiting;
pub mod wake;
