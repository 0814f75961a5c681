//! Values: what was seen and what is believed. Nothing here can fail, wait or read.

pub mod build;
pub mod drift;
pub mod event;
pub mod exhaustion;
pub mod files;
pub mod hang;
pub mod headroom;
pub mod journal;
pub mod label;
pub mod log;
pub mod process;
pub mod resources;
pub mod scoreboard;
pub mod server_status;
pub mod settings;
pub mod signal;
pub mod snapshot;
pub mod source;
pub mod straggler;
pub mod time;
pub mod tls;
pub mod told;
pub mod waiting;
