//! What httpd's error log says, as numbers, and in its own words only where it cannot go on.

use serde::{Deserialize, Serialize};

use super::{event::FailureReason, label::closed_set, process::Pid, time::Moment};

closed_set! {
    /// `%l` of a line.
    LogLevel {
        /// The server is unusable.
        Emerg = "emerg",
        /// Must be mended at once.
        Alert = "alert",
        /// Critical.
        Crit = "crit",
        /// An error.
        Error = "error",
        /// A warning.
        Warn = "warn",
        /// Normal but significant: written whatever `LogLevel` says.
        Notice = "notice",
        /// Informational.
        Info = "info",
        /// For debugging.
        Debug = "debug",
        /// `trace1` to `trace8`.
        Trace = "trace",
        /// The line tells none: raw lines, and formats without `%l`.
        None = "none",
    }
}

/// Declares the codes once, with their texts.
macro_rules! codes {
    ($($name:ident = $word:literal,)+) => {
        closed_set! {
            /// The number of a message, `AH00489`: those that restarts, stops, exhaustion and
            /// crashes are told by.
            LogCode {
                $(#[doc = concat!("`", $word, "`.")] $name = $word,)+
                /// Any other.
                Other = "other",
            }
        }
    };
}

codes! {
    Ah00016 = "AH00016", Ah00017 = "AH00017", Ah00018 = "AH00018", Ah00019 = "AH00019",
    Ah00020 = "AH00020", Ah00023 = "AH00023", Ah00045 = "AH00045", Ah00046 = "AH00046",
    Ah00047 = "AH00047", Ah00050 = "AH00050", Ah00051 = "AH00051", Ah00052 = "AH00052",
    Ah00060 = "AH00060", Ah00072 = "AH00072", Ah00094 = "AH00094", Ah00098 = "AH00098",
    Ah00144 = "AH00144", Ah00159 = "AH00159", Ah00161 = "AH00161", Ah00163 = "AH00163",
    Ah00169 = "AH00169", Ah00170 = "AH00170", Ah00171 = "AH00171", Ah00173 = "AH00173",
    Ah00283 = "AH00283", Ah00286 = "AH00286", Ah00287 = "AH00287", Ah00288 = "AH00288",
    Ah00292 = "AH00292", Ah00295 = "AH00295", Ah00296 = "AH00296", Ah00297 = "AH00297",
    Ah00298 = "AH00298", Ah00481 = "AH00481", Ah00484 = "AH00484", Ah00485 = "AH00485",
    Ah00489 = "AH00489", Ah00491 = "AH00491", Ah00492 = "AH00492", Ah00493 = "AH00493",
    Ah00494 = "AH00494", Ah00526 = "AH00526", Ah01238 = "AH01238", Ah02179 = "AH02179",
    Ah02312 = "AH02312", Ah02324 = "AH02324", Ah02325 = "AH02325", Ah02562 = "AH02562",
    Ah02565 = "AH02565", Ah02578 = "AH02578", Ah02580 = "AH02580", Ah02818 = "AH02818",
    Ah03490 = "AH03490", Ah10159 = "AH10159",
}

closed_set! {
    /// What a line claims of the parent, under any MPM.
    Lifecycle {
        /// "configured -- resuming normal operations": it started, or a restart is over.
        Resumed = "resumed",
        /// A graceful restart begins.
        Graceful = "graceful",
        /// A hard restart begins, or (worker, prefork, event before 2.4.54) is nearly over.
        Hard = "hard",
        /// It has stopped: every child is gone.
        Stopped = "stopped",
        /// A graceful stop begins.
        GracefulStop = "graceful_stop",
    }
}

impl LogCode {
    /// What a line of this code claims of the parent.
    #[must_use]
    pub const fn lifecycle(self) -> Option<Lifecycle> {
        // event, worker, prefork.
        #[expect(clippy::wildcard_enum_match_arm, reason = "most codes are no lifecycle lines")]
        Some(match self {
            Self::Ah00489 | Self::Ah00292 | Self::Ah00163 => Lifecycle::Resumed,
            Self::Ah00493 | Self::Ah00297 | Self::Ah00171 => Lifecycle::Graceful,
            Self::Ah00494 | Self::Ah00298 | Self::Ah00173 => Lifecycle::Hard,
            Self::Ah00491 | Self::Ah00295 | Self::Ah00169 => Lifecycle::Stopped,
            Self::Ah00492 | Self::Ah00296 | Self::Ah00170 => Lifecycle::GracefulStop,
            _ => return None,
        })
    }
}

/// A lifecycle line. Anything that runs in a child may have written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What it says.
    pub says: Lifecycle,
    /// Whose line it pretends to be; formats may leave it out.
    pub pid: Option<Pid>,
    /// It was not there yet at this moment: the end of the file was read then.
    pub after: Moment,
    /// It was there at this moment.
    pub before: Moment,
}

/// What a line says that may be why httpd cannot go on. Anything that runs in a child may have
/// written it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saying {
    /// What it would be the reason of a failed restart for; `None` if it only goes with others.
    pub reason: Option<FailureReason>,
    /// The message, at most 500 bytes, without control characters.
    pub text: String,
    /// Whose line it pretends to be; raw lines leave it out.
    pub pid: Option<Pid>,
    /// It was not there yet at this moment.
    pub after: Moment,
    /// It was there at this moment.
    pub before: Moment,
}

/// What one look reads in an error log: counts of the lines that came since the look before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReport {
    /// Whole lines by level; levels without a line are left out.
    pub lines: Vec<(LogLevel, u64)>,
    /// Lines with a code, by code; codes without a line are left out.
    pub events: Vec<(LogCode, u64)>,
    /// Bytes that were not looked at.
    pub skipped: u64,
    /// Lifecycle lines in their order; of a flood of them, the first ones.
    pub claims: Vec<Claim>,
    /// What may be why httpd cannot go on, in its order; of a flood, the last ones.
    pub sayings: Vec<Saying>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mpm_has_a_line_for_each_part_of_the_life_cycle() {
        for says in Lifecycle::ALL {
            let codes = LogCode::ALL.iter().filter(|code| code.lifecycle() == Some(*says));
            assert_eq!(codes.count(), 3, "{says:?}");
        }
    }

    #[test]
    fn codes_are_in_order_and_end_with_the_rest() {
        let mut words = LogCode::words();
        assert_eq!(words.pop(), Some("other"));
        assert!(words.is_sorted());
        assert_eq!(words.len(), 54);
    }
}
