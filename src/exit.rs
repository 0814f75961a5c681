//! How the program ends: the exit codes that scripts and service managers see.

use std::process::ExitCode;

/// The exit codes that all commands share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Success,
    /// 64: wrong usage, or an invalid configuration.
    Usage,
    /// 70: an error that is neither the operator's nor the host's.
    Internal,
    /// 75: another gracekeeper has the lock.
    Locked,
    /// 77: the operating system does not permit it.
    Permission,
}

impl Exit {
    /// The number, after `sysexits.h`.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 64,
            Self::Internal => 70,
            Self::Locked => 75,
            Self::Permission => 77,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
