//! `mod_status` beside a better witness: what it says of the generation must agree.

use crate::model::{
    event::Contradiction, scoreboard::Generation, server_status::StatusSighting, time::Moment,
};

/// What a better witness tells of the running generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// httpd's own number.
    Numbered(Generation),
    /// Counted by restarts, from a number that is not known.
    Counted(Generation),
}

/// Compares one parent's generation with what `mod_status` says.
#[derive(Clone, Debug, Default)]
pub(super) struct StatusTracker {
    /// The generation, and the first look that saw it.
    steady: Option<(Running, Moment)>,
    /// What is to be added to a counted generation.
    offset: Option<i64>,
    disagrees: bool,
}

impl StatusTracker {
    /// Folds one look: the running generation, unless it is not known or a restart is in progress;
    /// and an answer, if one has come.
    pub(super) fn observe(
        &mut self,
        at: Moment,
        running: Option<Running>,
        status: Option<&StatusSighting>,
    ) -> Option<Contradiction> {
        let Some(running) = running else {
            self.steady = None;
            return None;
        };
        let since = match self.steady {
            Some((known, since)) if known == running => since,
            Some(_) | None => at,
        };
        self.steady = Some((running, since));
        let status = status.filter(|status| since <= status.asked)?;
        let says = i64::from(status.result.as_ref().ok()?.generation?);
        let agrees = match running {
            Running::Numbered(generation) => says == i64::from(generation.number()),
            Running::Counted(generation) => {
                let offset = says - i64::from(generation.number());
                self.offset.replace(offset).is_none_or(|before| before == offset)
            }
        };
        let new = !agrees && !self.disagrees;
        self.disagrees = !agrees;
        new.then_some(Contradiction::ServerStatus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::server_status::ServerStatus, track::fixture::after};

    fn says(generation: i32, asked: u64) -> StatusSighting {
        let status = ServerStatus { generation: Some(generation), ..ServerStatus::default() };
        StatusSighting { asked: after(asked), answered: after(asked + 5), result: Ok(status) }
    }

    #[test]
    fn a_disagreement_is_one_contradiction_until_they_agree_again() {
        let mut tracker = StatusTracker::default();
        let four = Some(Running::Numbered(Generation::new(4)));
        assert_eq!(tracker.observe(after(1000), four, None), None);
        assert_eq!(tracker.observe(after(2000), four, Some(&says(4, 1500))), None);
        let wrong = Some(Contradiction::ServerStatus);
        assert_eq!(tracker.observe(after(3000), four, Some(&says(5, 2500))), wrong);
        assert_eq!(tracker.observe(after(4000), four, Some(&says(5, 3500))), None, "the same");
        assert_eq!(tracker.observe(after(5000), four, Some(&says(4, 4500))), None);
        assert_eq!(tracker.observe(after(6000), four, Some(&says(3, 5500))), wrong);
    }

    #[test]
    fn what_was_asked_before_a_restart_was_over_is_not_compared() {
        let mut tracker = StatusTracker::default();
        let running = |number| Some(Running::Numbered(Generation::new(number)));
        tracker.observe(after(1000), running(4), None);
        assert_eq!(tracker.observe(after(2000), running(5), Some(&says(4, 1500))), None);
        tracker.observe(after(2500), None, None);
        assert_eq!(tracker.observe(after(3000), running(5), Some(&says(4, 2600))), None);
    }

    #[test]
    fn a_counted_generation_must_move_as_often() {
        let mut tracker = StatusTracker::default();
        let counted = |number| Some(Running::Counted(Generation::new(number)));
        tracker.observe(after(1000), counted(0), None);
        assert_eq!(tracker.observe(after(2000), counted(0), Some(&says(7, 1500))), None);
        tracker.observe(after(3000), counted(1), None);
        assert_eq!(tracker.observe(after(4000), counted(1), Some(&says(8, 3500))), None);
        let missed = tracker.observe(after(5000), counted(1), Some(&says(9, 4500)));
        assert_eq!(missed, Some(Contradiction::ServerStatus), "a restart that nobody counted");
        assert_eq!(tracker.observe(after(6000), counted(1), Some(&says(9, 5500))), None);
    }
}
