//! A parent, as far as its lines tell of it.

use super::calendar::Instant;
use crate::{
    decode::error_log::failure::{has_code, verdict},
    model::{
        event::{FailureReason, RestartType},
        hang::HangCause,
        journal::{Outcome, Restart, What},
        time::Timestamp,
    },
};

/// What is kept of why a restart failed; the first reason counts.
const MOST_SAYINGS: usize = 64;
/// Children that do not end are told of at 3, 5, 7, 9 and 10 s; a hard restart's line may follow.
const LONGEST_LADDER: i64 = 15_000_000;
/// A parent that still writes so long after it said that it exits has not.
const EXITS_WITHIN: i64 = 60_000_000;
/// A restart that takes longer hangs: what `limits.restart_timeout` is if nobody sets it.
const RESTART_TIMEOUT: f64 = 60.0;
/// With whole seconds, what is shorter is not known.
const COARSE: f64 = 5.0;

/// A parent whose lines are being read.
#[derive(Clone, Debug, Default)]
pub struct Parent {
    /// The restart that has not ended.
    pub restarting: Option<Restarting>,
    /// It stops gracefully: whatever it still says is of no consequence.
    pub is_leaving: bool,
    /// It says that it will exit.
    pub exits: Option<Timestamp>,
    /// Another parent has started: unless it writes again, its restart has failed.
    pub is_doubtful: bool,
    /// When it first told of a child that did not end, since its last lifecycle line.
    pub ladder: Option<Instant>,
}

/// A restart that has begun.
#[derive(Clone, Debug)]
pub struct Restarting {
    kind: RestartType,
    began: Instant,
    /// The line was written when the restart began, not when it was nearly over.
    is_prompt: bool,
    said: Vec<(Option<FailureReason>, String)>,
    /// A line that only a parent writes that exits.
    is_over: bool,
    cause: HangCause,
}

impl Parent {
    /// Takes that it wrote a line.
    pub fn hear(&mut self, at: Timestamp) {
        self.exits = self.exits.filter(|exits| is_within(*exits, at, EXITS_WITHIN));
        self.ladder = self.ladder.filter(|ladder| is_within(ladder.at, at, LONGEST_LADDER));
    }

    /// A resuming line may be of this parent, not of the next one that has the same pid.
    #[must_use]
    pub fn may_resume(&self) -> bool {
        match &self.restarting {
            Some(restarting) => !restarting.has_failed(),
            None => self.exits.is_none() && !self.is_leaving,
        }
    }

    /// Since when something goes on that is yet to be told, from what is heard at this time.
    #[must_use]
    pub fn open_since(&self, last: Timestamp) -> Option<Timestamp> {
        let restarting = self.restarting.as_ref().map(Restarting::began);
        let ladder = self.ladder.map(|ladder| ladder.at);
        let ladder = ladder.filter(|at| is_within(*at, last, LONGEST_LADDER));
        [restarting, self.exits, ladder].into_iter().flatten().min()
    }

    /// It may be the one that writes raw lines.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        !self.is_leaving && self.exits.is_none()
    }
}

impl Restarting {
    /// A graceful restart.
    #[must_use]
    pub fn graceful(began: Instant) -> Self {
        Self::new(RestartType::Graceful, began, true)
    }

    /// A hard restart. worker and prefork, and event before 2.4.54, say so only once every child
    /// is gone: then the first child that did not end tells more of when it began.
    #[must_use]
    pub fn hard(line: Instant, ladder: Option<Instant>, is_first: bool) -> Self {
        match ladder.filter(|ladder| is_within(ladder.at, line.at, LONGEST_LADDER)) {
            Some(ladder) => {
                let cause = HangCause::Children;
                Self { cause, ..Self::new(RestartType::Hard, ladder, false) }
            }
            None => Self::new(RestartType::Hard, line, is_first),
        }
    }

    fn new(kind: RestartType, began: Instant, is_prompt: bool) -> Self {
        let (said, cause) = (Vec::new(), HangCause::Unknown);
        Self { kind, began, is_prompt, said, is_over: false, cause }
    }

    /// When it began, as far as lines tell.
    #[must_use]
    pub const fn began(&self) -> Timestamp {
        self.began.at
    }

    /// Says what it may wait for.
    pub const fn waits(&mut self, cause: HangCause) {
        self.cause = cause;
    }

    /// Takes what may be why it fails.
    pub fn hear(&mut self, reason: Option<FailureReason>, text: String, is_last: bool) {
        self.is_over |= is_last;
        let continues = self.said.last().is_some_and(|(_, text)| text.ends_with(':'));
        let matters = reason.is_some() || continues || has_code(&text);
        if matters && self.said.len() < MOST_SAYINGS {
            self.said.push((reason, text));
        }
    }

    /// Only a fatal signal can be why.
    pub fn crash(&mut self) {
        self.said.clear();
        self.said.push((Some(FailureReason::Crash), String::new()));
        self.is_over = true;
    }

    /// httpd never goes on after what it said.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        use FailureReason::{Config, Module};
        self.is_over || self.said.iter().any(|(reason, _)| matches!(reason, Some(Config | Module)))
    }

    /// Unless it went on, that is why it did not. A wrong pass phrase alone is no reason to end.
    #[must_use]
    pub fn seems_failed(&self) -> bool {
        let is_reason = |reason: &FailureReason| *reason != FailureReason::Passphrase;
        self.has_failed()
            || self.said.iter().any(|(reason, _)| reason.as_ref().is_some_and(is_reason))
    }

    /// The parent resumed.
    #[must_use]
    pub fn resumed(self, end: Instant) -> Vec<(Timestamp, What)> {
        let micros = end.at.as_micros().saturating_sub(self.began.at.as_micros());
        let seconds = Timestamp::from_micros(micros.max(0)).as_seconds();
        let is_known = (self.began.is_fine && end.is_fine) || seconds >= COARSE;
        let duration = (self.is_prompt && is_known && micros >= 0).then_some(seconds);
        let mut told = self.hung(seconds);
        told.push(self.told(Outcome::Resumed, None, duration, None));
        told
    }

    /// The parent is gone, or its log ends.
    #[must_use]
    pub fn left(self, is_gone: bool, last: Timestamp) -> Vec<(Timestamp, What)> {
        let micros = last.as_micros().saturating_sub(self.began.at.as_micros());
        let mut told = self.hung(Timestamp::from_micros(micros).as_seconds());
        if is_gone || self.seems_failed() {
            let said = self.said.iter().map(|(reason, text)| (*reason, text.as_str()));
            let (reason, detail) = verdict(said);
            let detail = detail.filter(|words| !words.is_empty());
            told.push(self.told(Outcome::Failed, Some(reason), None, detail));
        } else {
            told.push(self.told(Outcome::InProgress, None, None, None));
        }
        told
    }

    fn hung(&self, seconds: f64) -> Vec<(Timestamp, What)> {
        let hung = (self.began.at, What::RestartHung { cause: self.cause });
        if seconds > RESTART_TIMEOUT { vec![hung] } else { Vec::new() }
    }

    fn told(
        &self,
        outcome: Outcome,
        reason: Option<FailureReason>,
        duration_seconds: Option<f64>,
        detail: Option<String>,
    ) -> (Timestamp, What) {
        let (origin, suspects) = (None, Vec::new());
        let kind = self.kind;
        let restart = Restart { kind, outcome, reason, duration_seconds, origin, suspects, detail };
        (self.began.at, What::Restart(restart))
    }
}

const fn is_within(earlier: Timestamp, later: Timestamp, most: i64) -> bool {
    later.as_micros().saturating_sub(earlier.as_micros()) < most
}
