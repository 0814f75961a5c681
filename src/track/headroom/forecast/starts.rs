//! How many children the last restart started in one second.

use std::{collections::BTreeSet, time::Duration};

use super::super::HeadroomLook;
use crate::{
    model::{event::Event, headroom::Role, process::ProcessId, time::Moment},
    track::full_restart::TICK,
};

/// A generation has started its children by then: once a second it starts up to 32, twice as many
/// each time.
const STARTS_FOR: Duration = Duration::from_secs(30);
/// The span in which starts are counted.
const SPAN_MICROS: u64 = 1_000_000;
/// More than a server ever starts in that time; beyond it nobody is counted any more.
const MOST: usize = 20_000;

/// Counts the children of restarts.
#[derive(Clone, Debug, Default)]
pub(super) struct StartTracker {
    passage: Option<Passage>,
    last: Option<u32>,
}

/// A restart whose children are counted.
#[derive(Clone, Debug)]
struct Passage {
    began: Moment,
    until: Moment,
    born: BTreeSet<(u64, ProcessId)>,
}

impl StartTracker {
    /// One that goes on where an earlier run left it.
    pub(super) const fn restored(last: Option<u32>) -> Self {
        Self { passage: None, last }
    }

    /// Folds one look, and returns the most starts of children in any second of the last restart.
    pub(super) fn observe(&mut self, look: &HeadroomLook<'_>) -> Option<u32> {
        for event in look.events {
            if let Event::Restarted { began, .. } = event {
                let until = look.at.after(STARTS_FOR);
                self.passage = Some(Passage { began: *began, until, born: BTreeSet::new() });
                self.last = Some(0);
            }
        }
        let Some(passage) = &mut self.passage else { return self.last };
        let known = passage.born.len();
        for (id, role) in look.roles {
            let born = look.at.at_uptime(id.started);
            let is_new = *role != Role::Parent && born.after(TICK) >= passage.began;
            if is_new && passage.born.len() < MOST {
                passage.born.insert((id.started.as_micros(), *id));
            }
        }
        if passage.born.len() > known {
            self.last = Some(most_in_a_second(&passage.born));
        }
        if look.at >= passage.until {
            self.passage = None;
        }
        self.last
    }
}

fn most_in_a_second(born: &BTreeSet<(u64, ProcessId)>) -> u32 {
    let mut first = born.iter();
    let mut oldest = first.next();
    let (mut counted, mut most) = (0_u32, 0_u32);
    for (birth, _) in born {
        counted += 1;
        while let Some((early, _)) = oldest
            && birth.saturating_sub(*early) >= SPAN_MICROS
        {
            counted = counted.saturating_sub(1);
            oldest = first.next();
        }
        most = most.max(counted);
    }
    most
}
