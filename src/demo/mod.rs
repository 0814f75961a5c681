//! The demonstration: a private httpd on loopback, traffic for it, and a restart of each kind.

pub mod configuration;
pub mod directory;
pub mod httpd;
pub mod installation;
pub mod play;
pub mod traffic;

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use crate::program::ProgramError;

/// Why there is no demonstration, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// It needs what is not installed.
    #[error("{missing}; {remedy}")]
    NotInstalled {
        /// What, and where it was looked for.
        missing: String,
        /// How to get it.
        remedy: &'static str,
    },
    /// A flag makes no sense here.
    #[error("{flag} cannot be given: the demonstration watches its own httpd only")]
    Flag {
        /// The flag.
        flag: &'static str,
    },
    /// The private directory, or a file in it.
    #[error("write {path}: {source}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Every port is taken.
    #[error("no port of 127.0.0.1 from {0} to {1} is free")]
    NoPort(u16, u16),
    /// A program was not started, or lost.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// httpd ended by itself.
    #[error("httpd has ended by itself, {status}; its last words:\n{last_words}")]
    HttpdEnded {
        /// How.
        status: ExitStatus,
        /// The end of what it wrote.
        last_words: String,
    },
    /// httpd takes too long.
    #[error("httpd has not started serving in {waited:?}; its last words:\n{last_words}")]
    HttpdSilent {
        /// For how long it was waited for.
        waited: Duration,
        /// The end of what it wrote.
        last_words: String,
    },
    /// The watching process ended by itself.
    #[error("`gracekeeper run` has ended by itself, {0}")]
    WatcherEnded(ExitStatus),
}

impl DemoError {
    /// The operator asked for what cannot be here; nothing was started.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::NotInstalled { .. } | Self::Flag { .. })
    }
}
