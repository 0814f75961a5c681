//! What is written of the past: one line for each thing that happened to a server.
//!
//! The journal holds such lines, and error logs are told as such lines.

use serde::{Deserialize, Serialize};

use super::{
    event::{DrainOutcome, FailureReason, RestartType, StopType},
    exhaustion::Exhaustion,
    hang::{Dialog, HangCause},
    label::closed_set,
    source::Source,
    straggler::StragglerCause,
    time::Timestamp,
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it began.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// To whom.
    pub server: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Who witnessed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Source>,
}

closed_set! {
    /// How a restart ended, as far as it did.
    Outcome {
        /// The parent resumed.
        Resumed = "resumed",
        /// The parent ended.
        Failed = "failed",
        /// Neither is known yet.
        InProgress = "in_progress",
    }
}

closed_set! {
    /// Who caused a restart.
    Origin {
        /// gracekeeper itself.
        Gracekeeper = "gracekeeper",
        /// Somebody else.
        Other = "other",
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A parent began to serve.
    Start(Start),
    /// A parent took a restart's signal.
    Restart(Restart),
    /// A restart was past its limit; `at` is the restart's.
    RestartHung {
        /// What it waits for.
        cause: HangCause,
    },
    /// A parent ended.
    Stop {
        /// Why.
        #[serde(rename = "type")]
        kind: StopType,
    },
    /// A generation drained.
    Drain {
        /// Its number, where generations are httpd's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<i32>,
        /// How long that took.
        #[serde(serialize_with = "seconds::serialize")]
        duration_seconds: f64,
        /// How many children it was waited for.
        children: u32,
        /// How it ended.
        outcome: DrainOutcome,
    },
    /// Old children have been there for long, or have become stuck.
    Stragglers {
        /// These, the oldest first, at most sixteen.
        children: Vec<StragglerNote>,
    },
    /// A fatal signal ended a child.
    ChildCrash {
        /// Its name: `SIGSEGV`.
        signal: String,
    },
    /// A limit was reached.
    Exhausted {
        /// Which.
        what: Exhaustion,
    },
    /// httpd waits for a key's pass phrase.
    PassphrasePrompt {
        /// Whom it asks, where that can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dialog: Option<Dialog>,
    },
}

/// An old child, as the journal tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StragglerNote {
    /// Its number.
    pub pid: i32,
    /// Its generation, where generations are httpd's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i32>,
    /// For how long it has been old.
    #[serde(serialize_with = "seconds::serialize")]
    pub age_seconds: f64,
    /// Why it is there.
    pub cause: StragglerCause,
    /// What a worker of it is asked for, as far as the operator wants that shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A parent that began to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// httpd's release: `2.4.71`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its MPM: `event`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mpm: Option<String>,
    /// A parent was known before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_restart: Option<bool>,
    /// The parent before it did not clean up (AH00098).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclean: Option<bool>,
}

/// A restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// What it was.
    #[serde(rename = "type")]
    pub kind: RestartType,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// From the signal to resuming.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "seconds::serialize_known"
    )]
    pub duration_seconds: Option<f64>,
    /// Who caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Programs alive at that look that could have done it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<String>,
    /// httpd's own words, at most 500 bytes, without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// `2026-11-22T10:32:12.589577Z`.
pub mod rfc3339 {
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    use super::Timestamp;

    /// Writes a time as its text; fails for one beyond the year 9999.
    pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        let at = jiff::Timestamp::from_microsecond(at.as_micros()).map_err(ser::Error::custom)?;
        to.collect_str(&format_args!("{at:.6}"))
    }

    /// Reads a time of any zone, to the microsecond; fails for what is no time.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let at: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Timestamp::from_micros(at.as_microsecond()))
    }
}

/// `4.528222`: six digits at most, and no exponent.
pub mod seconds {
    use serde::{Serialize as _, Serializer};

    /// Shorter ones are written with an exponent, and are below what two readings of a clock tell.
    const SHORTEST: f64 = 1e-5;
    /// Of longer ones a double has no microseconds.
    const LONGEST: f64 = 1e9;

    /// To the microsecond, as far as it can be told: below ten of them it is none.
    #[must_use]
    pub fn rounded(seconds: f64) -> f64 {
        if seconds.abs() < SHORTEST {
            return 0.0;
        }
        if seconds.abs() > LONGEST {
            return seconds;
        }
        (seconds * 1e6).round() / 1e6
    }

    /// Writes rounded seconds.
    pub fn serialize<S: Serializer>(seconds: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(rounded(*seconds))
    }

    /// Writes rounded seconds, if they are known.
    pub fn serialize_known<S: Serializer>(seconds: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        seconds.map(rounded).serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_scripts_know_it() {
        let restart = Restart {
            kind: RestartType::Graceful,
            outcome: Outcome::Resumed,
            reason: None,
            duration_seconds: Some(0.054_572),
            origin: None,
            suspects: Vec::new(),
            detail: None,
        };
        let entry = Entry {
            at: Timestamp::from_micros(1_795_343_532_589_577),
            server: "main".to_owned(),
            what: What::Restart(restart),
            evidence: vec![Source::Scoreboard, Source::ErrorLog],
        };
        let line = "{\"at\":\"2026-11-22T10:32:12.589577Z\",\"server\":\"main\",\
            \"event\":\"restart\",\"type\":\"graceful\",\"outcome\":\"resumed\",\
            \"duration_seconds\":0.054572,\"evidence\":[\"scoreboard\",\"error_log\"]}";
        assert_eq!(serde_json::to_string(&entry).unwrap(), line);
        assert_eq!(serde_json::from_str::<Entry>(line).unwrap(), entry);
    }

    #[test]
    fn seconds_have_six_digits_at_most_and_no_exponent() {
        let table = [
            (4.528_221_999_999_999_5, "4.528222"),
            (0.000_001, "0.0"),
            (0.000_012, "0.000012"),
            (86_400.0, "86400.0"),
            (0.1 + 0.2, "0.3"),
        ];
        for (duration_seconds, expected) in table {
            let drain = What::Drain {
                generation: None,
                duration_seconds,
                children: 1,
                outcome: DrainOutcome::Drained,
            };
            let line = serde_json::to_string(&drain).unwrap();
            assert!(line.contains(&format!("\"duration_seconds\":{expected},")), "{line}");
        }
    }

    #[test]
    fn what_a_later_version_adds_is_no_error() {
        let line = "{\"at\":\"2026-11-22T10:32:12Z\",\"server\":\"main\",\"event\":\"stop\",\
            \"type\":\"stop\",\"mood\":\"good\"}";
        let entry: Entry = serde_json::from_str(line).unwrap();
        assert_eq!(entry.what, What::Stop { kind: StopType::Stop });
        assert_eq!(entry.at, Timestamp::from_micros(1_795_343_532_000_000));
    }
}
