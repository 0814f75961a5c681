//! Stalled: connections wait to be accepted and nobody takes them, or nothing listens any more.

use std::time::Duration;

use super::HeadroomLook;
use crate::model::time::Moment;

/// Who waits for so long while no worker does anything is not served.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ordinary delays of a restart are shorter.
const ORDINARY_DELAY: Duration = Duration::from_secs(3);

/// Whether accept queues are stuck. Without a scoreboard, and `ExtendedStatus`, nothing tells
/// whether workers are: a status that is the same in each look may be another request's.
#[derive(Clone, Debug, Default)]
pub(super) struct Stall {
    /// Something listened.
    listened: bool,
    /// Since when nothing does.
    closed: Option<Moment>,
    /// Since when connections wait and no worker did anything.
    waits: Option<Waiting>,
    /// The last look.
    looked: Option<Moment>,
    /// The last one that knew how many connections wait.
    knew: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Moment,
    activity: u64,
}

impl Stall {
    /// Folds one look: how many sockets listen and how many connections wait; `None` while that
    /// cannot be read.
    pub(super) fn observe(
        &mut self,
        look: &HeadroomLook<'_>,
        sockets: Option<usize>,
        longest: Option<u64>,
    ) {
        match sockets {
            // Whether it closed them is not known.
            None => (self.listened, self.closed) = (false, None),
            Some(0) if self.listened => self.closed = self.closed.or(Some(look.at)),
            Some(0) => {}
            Some(_) => (self.listened, self.closed) = (true, None),
        }
        self.looked = Some(look.at);
        self.knew = if longest.is_some() { self.looked } else { self.knew };
        let same = self.waits.filter(|waits| Some(waits.activity) == activity(look));
        self.waits = match longest {
            // Unknown is not empty: who waited still does, if no worker did anything.
            None => same,
            Some(0) => None,
            Some(_) => {
                let begun = |activity| Waiting { since: look.at, activity };
                same.or_else(|| activity(look).map(begun))
            }
        };
    }

    /// It was at the last look.
    pub(super) fn is_stalled(&self) -> bool {
        let [waits, closed] = self.deadlines();
        waits.is_some_and(|it| Some(it) <= self.knew)
            || closed.is_some_and(|it| Some(it) <= self.looked)
    }

    /// When time alone will make it stalled.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let to_come = |deadline: &Moment| Some(*deadline) > self.looked && !self.is_stalled();
        self.deadlines().into_iter().flatten().filter(to_come).min()
    }

    fn deadlines(&self) -> [Option<Moment>; 2] {
        let waits = self.waits.map(|waits| waits.since.after(PATIENCE));
        let closed = self.closed.map(|since| since.after(ORDINARY_DELAY));
        [waits, closed]
    }
}

/// Another number once any worker has done anything; `None` while that cannot be seen.
fn activity(look: &HeadroomLook<'_>) -> Option<u64> {
    let slots = look.scoreboard?.slots.as_ref()?;
    slots.iter().filter_map(|slot| slot.activity).reduce(u64::wrapping_add)
}
