//! The last restart of a server, as the API tells of it.

use crate::model::{
    event::{FailureReason, RestartType},
    journal::{Entry, Origin, Outcome, What},
    time::Timestamp,
};

/// The last restart, failed ones and full ones included.
#[derive(Clone, Debug, PartialEq)]
pub struct LastRestart {
    /// What it was.
    pub kind: RestartType,
    /// When it began.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// From the signal, or the new parent's start, to resuming, in seconds.
    pub duration_seconds: Option<f64>,
    /// Who caused it.
    pub origin: Option<Origin>,
    /// Who could have done it.
    pub suspects: Vec<String>,
    /// Why it failed.
    pub reason: Option<FailureReason>,
}

impl LastRestart {
    /// What an entry tells of a restart that is over.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        match &entry.what {
            What::Restart(it) if it.outcome != Outcome::InProgress => Some(Self {
                kind: it.kind,
                at: entry.at,
                outcome: it.outcome,
                duration_seconds: it.duration_seconds,
                origin: it.origin,
                suspects: it.suspects.clone(),
                reason: it.reason,
            }),
            What::Start(start) if start.full_restart == Some(true) => Some(Self {
                kind: RestartType::Full,
                at: entry.at,
                outcome: Outcome::Resumed,
                duration_seconds: None,
                origin: None,
                suspects: Vec::new(),
                reason: None,
            }),
            What::Restart(_)
            | What::Start(_)
            | What::RestartHung { .. }
            | What::Stop { .. }
            | What::Drain { .. }
            | What::Stragglers { .. }
            | What::ChildCrash { .. }
            | What::Exhausted { .. }
            | What::PassphrasePrompt { .. } => None,
        }
    }
}
