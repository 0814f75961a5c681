//! The configuration: TOML as typed, validated once, with flags over it.
//!
//! `file` reads it safely, `typed` finds each key with its line, `value` says what a value may
//! be, `keys` and `reload` name every key once with its default, and `settings` is what comes out.

pub mod duration;
pub mod error;
mod file;
mod keys;
mod reload;
pub mod settings;
pub mod show;
mod shown;
#[cfg(test)]
mod tests;
mod typed;
mod url;
mod value;
pub mod web;
mod window;

pub use error::ConfigError;
pub use settings::{Flags, Settings};

/// The configuration file where none is named; it need not exist.
pub const DEFAULT_FILE: &str = "/etc/gracekeeper/gracekeeper.toml";
