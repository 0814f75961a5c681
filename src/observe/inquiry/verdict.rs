//! What httpd has against its configuration: when that counts, and when it is news.

use super::{
    super::asked::{self, Answer, AskError},
    Inquiry, REFUSED_AGAIN_AFTER, TRIED_AGAIN_AFTER,
};
use crate::model::{files::FileList, process::ProcessId, time::Moment};

impl Inquiry {
    /// Another verdict than the last one that was told: what httpd has against its configuration, or
    /// that it has nothing against it any more.
    pub fn verdict_news(&mut self) -> Option<Result<(), String>> {
        let verdict = self.verdict.clone()?;
        let before = self.verdict_told.replace(verdict.clone());
        let is_news = before.as_ref() != Some(&verdict) && (before.is_some() || verdict.is_err());
        is_news.then_some(verdict)
    }

    /// It was refused what somebody was still writing: that is asked about again.
    pub(super) fn was_overtaken(&self, result: &Result<Answer, AskError>, now: Moment) -> bool {
        let is_refused = match result {
            Ok(answer) => answer.refused.is_some(),
            Err(error) => matches!(error, AskError::Failed { .. }),
        };
        let changed = self
            .edition
            .zip(self.asked)
            .is_some_and(|(edition, (_, asked))| edition.changed_between(asked.wall, now.wall));
        is_refused && changed
    }

    pub(super) fn decide(&mut self, parent: ProcessId, verdict: Option<Result<(), String>>) {
        self.valid = verdict.as_ref().map(|verdict| (parent, verdict.is_ok()));
        self.verdict = verdict.or(self.verdict.take());
    }

    /// Takes an error; whether it is a verdict on the configuration.
    pub(super) fn refuse(&mut self, parent: ProcessId, error: &AskError, now: Moment) -> bool {
        let AskError::Failed { is_wrong, included, said, .. } = error else {
            self.decide(parent, None);
            self.tried_again = Some(now.after(TRIED_AGAIN_AFTER));
            return false;
        };
        let earlier = self.files.clone().unwrap_or_default();
        // What it may not read may name more.
        let is_partial = !is_wrong || self.files.as_ref().is_none_or(|list| list.is_partial);
        self.watch(FileList { is_partial, ..asked::joined(&earlier, included) });
        self.decide(parent, is_wrong.then(|| Err(said.clone())));
        self.tried_again = Some(again_after(now, *is_wrong));
        *is_wrong
    }
}

/// A configuration that is wrong is mended by another change, anything else by itself.
pub(super) fn again_after(now: Moment, is_wrong: bool) -> Moment {
    now.after(if is_wrong { REFUSED_AGAIN_AFTER } else { TRIED_AGAIN_AFTER })
}
