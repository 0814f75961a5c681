//! The memory of a server's processes, sampled by the reading process.
//!
//! Here is decided when it is asked and in which order; how many it then reads is its own budget.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    ResourceInstruments, Tree,
    paced::{FAST_PACE, PACE, Paced},
};
use crate::{
    clock,
    model::{
        process::ProcessId,
        resources::{MemorySample, Rollup},
        snapshot::Part,
        source::Why,
        time::Moment,
    },
    observe::{process_table::ProcessTable, reader::Pace},
};

/// Who may not read it now may not for long.
const REFUSED_PACE: Duration = Duration::from_secs(10);
/// What was read of a child that was younger is read again before others: it had nothing of its
/// own yet.
const INFANCY: Duration = Duration::from_secs(1);
/// A parent is one of many, and the only one of its role: it is read so many times as often.
const WEIGHT_OF_PARENT: u32 = 10;
/// Even a budget that was saved for long reads no more at once.
const MOST_AT_ONCE: usize = 500;

/// Who has waited longer for any figure at all is told that there is none. Of many children each has
/// its turn after minutes, but one of them is read nearly every second.
const STARVED: Duration = Duration::from_secs(30);

/// What keeps httpd from detaching itself: words of `-D`, and `-X`.
const STAYS: [&[u8]; 5] = [b"FOREGROUND", b"NO_DETACH", b"ONE_PROCESS", b"DEBUG", b"-X"];

/// What was read last, and when.
type Figures = BTreeMap<ProcessId, (Rollup, Moment)>;

/// Reads how much memory a server's processes use.
#[derive(Debug, Default)]
pub(super) struct MemoryObserver {
    figures: Figures,
    /// The parent detached itself when it started; `None` before that is known.
    is_detached: Option<bool>,
    asked: Paced<()>,
    refused: Option<Why>,
}

impl MemoryObserver {
    /// One look.
    pub(super) fn look(
        &mut self,
        tree: &Tree<'_>,
        instruments: &mut ResourceInstruments<'_>,
    ) -> Part<MemorySample> {
        let living: BTreeSet<ProcessId> =
            tree.children.iter().copied().chain([tree.parent]).collect();
        self.figures.retain(|id, _| living.contains(id));
        if self.is_due(tree.at, tree.overlaps) {
            self.asked.keep(tree.at, ());
            let pace = if tree.overlaps { Pace::Overlap } else { Pace::Calm };
            let wanted = order(tree.at, tree.parent, &living, &self.figures);
            // Taken before they are read, so that no figure is said to be newer than it is.
            let at = clock::now();
            let given = instruments.readers.memory(tree.parent, wanted, pace);
            self.take(at, given);
        }
        match self.refused.or_else(|| self.starved(tree.at)) {
            Some(why) => Part::Unseen(why),
            None => Part::Seen(MemorySample {
                processes: self.figures.clone(),
                parent_is_detached: self.is_detached(tree.parent, instruments.table),
            }),
        }
    }

    fn is_detached(&mut self, parent: ProcessId, table: &ProcessTable) -> bool {
        let read = || table.command_line(parent.pid).is_ok_and(|line| !stays(&line));
        *self.is_detached.get_or_insert_with(read)
    }

    /// Walks take more than their budget.
    fn starved(&self, at: Moment) -> Option<Why> {
        let newest = self.figures.values().map(|(_, read)| *read).max();
        let is_fed = newest.is_some_and(|newest| at.since(newest) < STARVED);
        (!is_fed).then_some(Why::Limit)
    }

    fn is_due(&self, at: Moment, overlaps: bool) -> bool {
        let pace = match self.refused {
            Some(Why::Permission) => REFUSED_PACE,
            None if overlaps => FAST_PACE,
            Some(Why::Missing | Why::Timeout | Why::Invalid | Why::Limit | Why::Other) | None => {
                PACE
            }
        };
        self.asked.fresh(at, pace).is_none()
    }

    fn take(&mut self, at: Moment, given: Result<Vec<(ProcessId, Rollup)>, Why>) {
        match given {
            Ok(read) => {
                self.refused = None;
                self.figures.extend(read.into_iter().map(|(id, memory)| (id, (memory, at))));
            }
            // All who were asked for have ended since the look began: the next one knows.
            Err(Why::Missing) if !self.figures.is_empty() => {}
            Err(why) => self.refused = Some(why),
        }
    }
}

/// A command line by which httpd stays in the foreground.
fn stays(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == 0);
    words.any(|word| STAYS.iter().any(|it| word == *it || word.strip_prefix(b"-D") == Some(it)))
}

/// Those who are to be read, the most wanted first: in turns one of whom nothing is known, and one
/// whose figure is the oldest. Else many new children would keep all others waiting, or wait
/// themselves.
fn order(
    at: Moment,
    parent: ProcessId,
    living: &BTreeSet<ProcessId>,
    figures: &Figures,
) -> Vec<ProcessId> {
    let mut fresh = Vec::new();
    let mut known = Vec::new();
    for id in living {
        let started = at.at_uptime(id.started);
        let grown = started.after(INFANCY);
        match figures.get(id) {
            // Nothing else tells of the parent.
            None => fresh.push((*id != parent, started, *id)),
            Some((_, read)) if *read < grown && grown <= at => fresh.push((true, *read, *id)),
            Some((_, read)) => {
                let weight = if *id == parent { WEIGHT_OF_PARENT } else { 1 };
                known.push((Reverse(at.since(*read).saturating_mul(weight)), *id));
            }
        }
    }
    fresh.sort_unstable();
    known.sort_unstable();
    let mut fresh = fresh.into_iter().map(|(_, _, id)| id);
    let mut known = known.into_iter().map(|(_, id)| id);
    let turns = std::iter::from_fn(|| match (fresh.next(), known.next()) {
        (None, None) => None,
        both => Some(both),
    });
    turns.flat_map(|(fresh, known)| fresh.into_iter().chain(known)).take(MOST_AT_ONCE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        process::Pid,
        time::{Timestamp, Uptime},
    };

    const BEGIN: Moment =
        Moment { uptime: Uptime::from_micros(1), wall: Timestamp::from_micros(1) };

    fn at(millis: u64) -> Moment {
        BEGIN.after(Duration::from_millis(millis))
    }

    fn born(pid: i32, millis: u64) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: at(millis).uptime }
    }

    fn read(id: ProcessId, millis: u64) -> (ProcessId, (Rollup, Moment)) {
        (id, (Rollup::default(), at(millis)))
    }

    fn pids(order: &[ProcessId]) -> Vec<i32> {
        order.iter().map(|id| id.pid.as_raw()).collect()
    }

    #[test]
    fn who_stays_in_the_foreground_did_not_detach_itself() {
        for line in ["apache2\0-DFOREGROUND\0", "httpd\0-D\0FOREGROUND\0", "httpd\0-X\0"] {
            assert!(stays(line.as_bytes()), "{line}");
        }
        assert!(!stays(b"apache2\0-k\0start\0") && !stays(b"apache2\0-DFOREGROUNDS\0"));
    }

    #[test]
    fn new_children_and_the_oldest_figures_take_turns_and_the_parent_is_first() {
        let parent = born(1, 0);
        let old = [born(2, 0), born(3, 0), born(4, 0)];
        let new = [born(5, 60_200), born(6, 60_100), born(7, 58_000)];
        let living: BTreeSet<ProcessId> = [parent].into_iter().chain(old).chain(new).collect();
        let known = [read(old[0], 50_000), read(old[1], 40_000), read(old[2], 45_000)];
        // Number 7 had nothing of its own then.
        let mut figures: Figures = known.into_iter().chain([read(new[2], 58_500)]).collect();
        let moment = at(60_500);
        assert_eq!(pids(&order(moment, parent, &living, &figures)), [1, 3, 7, 4, 6, 2, 5]);
        figures.extend([read(parent, 59_000), read(new[2], 60_000)]);
        assert_eq!(pids(&order(moment, parent, &living, &figures)), [6, 3, 5, 4, 1, 2, 7]);
        figures.extend([read(parent, 57_000)]);
        assert_eq!(pids(&order(moment, parent, &living, &figures))[1], 1, "counts as 35 s old");
    }

    #[test]
    fn everybody_has_a_turn_if_only_some_are_read_at_once() {
        let parent = born(1, 0);
        let living: BTreeSet<ProcessId> =
            (2..=100).map(|pid| born(pid, 0)).chain([parent]).collect();
        let mut figures = Figures::new();
        for second in 10..40 {
            let turn = order(at(second * 1000), parent, &living, &figures);
            figures.extend(turn.into_iter().take(10).map(|id| read(id, second * 1000)));
        }
        assert_eq!(figures.len(), 100);
        let oldest = figures.values().map(|(_, read)| at(39_000).since(*read)).max();
        assert!(oldest.unwrap() <= Duration::from_secs(12), "{oldest:?}");
    }

    #[test]
    fn it_is_asked_once_a_second_more_often_in_a_restart_and_rarely_where_it_is_closed() {
        let mut observer = MemoryObserver::default();
        observer.asked.keep(at(0), ());
        for (refused, overlaps, millis, due) in [
            (None, false, 899, false),
            (None, false, 900, true),
            (None, true, 99, false),
            (None, true, 100, true),
            (Some(Why::Permission), true, 9999, false),
            (Some(Why::Permission), false, 10_000, true),
            (Some(Why::Timeout), true, 100, false),
            (Some(Why::Timeout), true, 1000, true),
        ] {
            observer.refused = refused;
            assert_eq!(observer.is_due(at(millis), overlaps), due, "{refused:?} after {millis} ms");
        }
        observer.asked = Paced::new();
        assert!(observer.is_due(at(0), false));
    }

    #[test]
    fn who_has_just_ended_closes_nothing() {
        let mut observer = MemoryObserver::default();
        observer.take(at(0), Err(Why::Missing));
        assert_eq!(observer.refused, Some(Why::Missing), "a kernel without such files");
        observer.take(at(1), Ok(vec![(born(2, 0), Rollup::default())]));
        assert_eq!((observer.refused, observer.figures.len()), (None, 1));
        observer.take(at(2), Err(Why::Missing));
        assert_eq!((observer.refused, observer.figures.len()), (None, 1));
        observer.take(at(3), Err(Why::Permission));
        assert_eq!(observer.refused, Some(Why::Permission));
    }

    #[test]
    fn figures_that_are_none_or_too_old_are_not_seen() {
        let mut observer = MemoryObserver::default();
        assert_eq!(observer.starved(at(0)), Some(Why::Limit), "nothing was read");
        let figures = [(born(2, 0), Rollup::default()), (born(3, 0), Rollup::default())];
        observer.take(at(0), Ok(figures.to_vec()));
        observer.take(at(5000), Ok(vec![(born(3, 0), Rollup::default())]));
        assert_eq!(observer.starved(at(34_000)), None, "one is new enough");
        assert_eq!(observer.starved(at(35_000)), Some(Why::Limit));
    }
}
