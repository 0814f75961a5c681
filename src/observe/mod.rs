//! One file per outside thing: reads, stamps, hands over.

pub mod children;
pub mod discovery;
pub mod kernel;
pub mod moments;
pub mod own_process;
pub mod pid_file;
pub mod privileges;
pub mod process_table;
pub mod reader;
pub mod scoreboard;
pub mod server;
