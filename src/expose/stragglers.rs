//! Old children that are worth a line of the journal: those that stay for long, or become stuck.

use std::{collections::BTreeMap, time::Duration};

use crate::model::{
    journal::{StragglerNote, What},
    process::ProcessId,
    scoreboard::Generation,
    straggler::{Straggler, StragglerCause},
    time::Moment,
};

/// An ordinary drain is shorter, and most stragglers have become stuck by then if they do.
const LONG: Duration = Duration::from_secs(30);
/// As many are named; of more, these tell enough of why they stay.
const MOST_NAMED: usize = 16;

/// What was told of old children.
#[derive(Clone, Debug)]
pub(super) struct LongStragglers {
    told: BTreeMap<ProcessId, StragglerCause>,
}

impl LongStragglers {
    pub(super) const fn new() -> Self {
        Self { told: BTreeMap::new() }
    }

    /// What is to be written of those that live: each once when it has stayed for long, and once
    /// more if it becomes stuck.
    pub(super) fn observe(&mut self, at: Moment, living: &[Straggler]) -> Option<What> {
        self.told.retain(|id, _| living.iter().any(|it| it.id == *id));
        let mut children = Vec::new();
        for straggler in living {
            let Some(age) = straggler.since.map(|since| at.since(since)) else { continue };
            if age < LONG || !self.is_news(straggler) {
                continue;
            }
            self.told.insert(straggler.id, straggler.cause);
            children.push(StragglerNote {
                pid: straggler.id.pid.as_raw(),
                generation: straggler.generation.map(Generation::number),
                age_seconds: age.as_secs_f64(),
                cause: straggler.cause,
                request: straggler.request.clone(),
            });
        }
        children.truncate(MOST_NAMED);
        (!children.is_empty()).then_some(What::Stragglers { children })
    }

    fn is_news(&self, straggler: &Straggler) -> bool {
        let stuck = straggler.cause == StragglerCause::Stuck;
        let told = self.told.get(&straggler.id);
        told.is_none_or(|told| stuck && *told != StragglerCause::Stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        process::Pid,
        time::{Timestamp, Uptime},
    };

    fn after(seconds: u64) -> Moment {
        let zero = Moment { uptime: Uptime::from_micros(0), wall: Timestamp::from_micros(1 << 50) };
        zero.after(Duration::from_secs(seconds))
    }

    fn straggler(pid: i32, cause: StragglerCause) -> Straggler {
        Straggler {
            id: ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(1) },
            generation: Some(Generation::new(3)),
            since: Some(after(0)),
            cause,
            request: Some("GET /slow".to_owned()),
        }
    }

    fn pids(what: Option<What>) -> Vec<i32> {
        match what {
            Some(What::Stragglers { children }) => children.iter().map(|it| it.pid).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn an_old_child_is_told_once_when_it_stays_and_once_when_it_is_stuck() {
        let mut long = LongStragglers::new();
        let working = [straggler(7, StragglerCause::Request), straggler(8, StragglerCause::Idle)];
        assert_eq!(long.observe(after(29), &working), None);
        let note = |pid, cause| StragglerNote {
            pid,
            generation: Some(3),
            age_seconds: 30.0,
            cause,
            request: Some("GET /slow".to_owned()),
        };
        let children = vec![note(7, StragglerCause::Request), note(8, StragglerCause::Idle)];
        assert_eq!(long.observe(after(30), &working), Some(What::Stragglers { children }));
        assert_eq!(long.observe(after(31), &working), None);
        let stuck = [straggler(7, StragglerCause::Request), straggler(8, StragglerCause::Stuck)];
        assert_eq!(pids(long.observe(after(60), &stuck)), [8]);
        assert_eq!(long.observe(after(61), &stuck), None);
        assert_eq!(long.observe(after(62), &working), None, "it works again");
    }

    #[test]
    fn of_a_crowd_some_are_named_and_who_became_old_unseen_is_not() {
        let mut crowd: Vec<_> =
            (1..100).map(|pid| straggler(pid, StragglerCause::Request)).collect();
        crowd[0].since = None;
        let mut long = LongStragglers::new();
        assert_eq!(pids(long.observe(after(99), &crowd)), (2..18).collect::<Vec<_>>());
        assert_eq!(long.observe(after(100), &crowd), None);
    }
}
