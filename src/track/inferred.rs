//! Generations where no scoreboard numbers them: who was there before a restart is of an older one.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    children::{Placement, Placements},
    look::Look,
};
use crate::model::{
    event::Event,
    process::{ChildRole, Pid, ProcessId},
    scoreboard::Generation,
    time::Moment,
};

/// The generations of one parent's children, numbered by the restarts that were seen.
#[derive(Clone, Debug)]
pub(super) struct InferredGenerations {
    running: Generation,
    children: BTreeMap<ProcessId, Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    generation: Generation,
    /// Two looks saw the child.
    settled: bool,
}

impl InferredGenerations {
    /// Of a parent whose generation was last known, or believed, to be `running`, with the
    /// children whose generation is known.
    pub(super) fn since(
        running: Generation,
        known: impl Iterator<Item = (ProcessId, Generation)>,
    ) -> Self {
        let place = |(id, generation)| (id, Place { generation, settled: true });
        Self { running, children: known.map(place).collect() }
    }

    /// The running generation: its number is not httpd's own.
    pub(super) const fn running(&self) -> Generation {
        self.running
    }

    /// Folds the restarts that were gone through since the last look, tells each which generation
    /// it left, and then the children: who was born after a restart began is of what it began.
    ///
    /// `undecided`: another restart is in progress. Who is new then is placed when it is over.
    pub(super) fn observe(&mut self, look: &Look<'_>, restarts: &mut [Event], undecided: bool) {
        let before = self.running;
        let mut began = Vec::new();
        for restart in restarts {
            if let Event::Restarted { began: at, left, .. } = restart {
                *left = Some(self.running);
                self.running = self.running.advanced_by(1);
                began.push(*at);
            }
        }
        let Some(table) = look.table else { return };
        let httpds = table.children.values().filter(|child| child.role == ChildRole::Httpd);
        let ids: BTreeSet<ProcessId> = httpds.map(|child| child.id).collect();
        // A look that read the pid file before a restart may have seen that one's first children.
        self.children.retain(|id, place| ids.contains(id) && (began.is_empty() || place.settled));
        // Nor is it told then whether who was seen is of the restart that this look finds begun.
        for place in self.children.values_mut().filter(|_| !undecided) {
            place.settled = true;
        }
        for id in ids.into_iter().filter(|_| !undecided) {
            self.children.entry(id).or_insert_with(|| {
                let born = look.at.at_uptime(id.started);
                let generation = before.advanced_by(restarts_before(&began, born));
                Place { generation, settled: false }
            });
        }
    }

    /// Where each child belongs.
    pub(super) fn placements(&self) -> Placements {
        let place = |(id, place): (&ProcessId, &Place)| -> (Pid, Placement) {
            (id.pid, Placement { generation: place.generation, starting: false })
        };
        self.children.iter().map(place).collect()
    }
}

/// How many of these restarts had begun when a child was born. A start time is exact to a clock
/// tick, the last one that is over: the child that a look sees for the first time after a restart
/// was most likely born by it.
fn restarts_before(began: &[Moment], born: Moment) -> u32 {
    let before = began.iter().filter(|began| **began <= born.after(super::full_restart::TICK));
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{iter, time::Duration};

    use super::*;
    use crate::{
        model::{
            event::RestartType,
            process::{Child, ProcessState, ProcessTable},
        },
        track::fixture::{after, process},
    };

    fn placed(
        generations: &mut InferredGenerations,
        at: u64,
        children: &[(i32, u64)],
        began: &[u64],
    ) -> Vec<(i32, i32)> {
        placed_while(generations, at, children, began, false)
    }

    fn placed_while(
        generations: &mut InferredGenerations,
        at: u64,
        children: &[(i32, u64)],
        began: &[u64],
        undecided: bool,
    ) -> Vec<(i32, i32)> {
        let child = |(pid, started): &(i32, u64)| {
            let id = process(*pid, *started);
            (id.pid, Child { id, role: ChildRole::Httpd, state: ProcessState::Alive })
        };
        let table = ProcessTable {
            state: ProcessState::Alive,
            catches_crashes: true,
            children: children.iter().map(child).collect(),
            well: Vec::new(),
            halted: Vec::new(),
            threaded: true,
            waiting: crate::model::waiting::Waiting::default(),
        };
        let look = Look {
            at: after(at),
            traces: &[],
            statuses: &[],
            parent: process(1, 0),
            table: Some(&table),
            scoreboard: None,
            pid_file: None,
        };
        let restarted = |at: &u64| Event::Restarted {
            kind: RestartType::Graceful,
            began: after(*at),
            took: Some(Duration::from_millis(3)),
            left: None,
            coalesced: false,
            interrupted: 0,
        };
        let mut restarts: Vec<Event> = began.iter().map(restarted).collect();
        generations.observe(&look, &mut restarts, undecided);
        let number = |place: &Placement| place.generation.number();
        generations.placements().iter().map(|(pid, place)| (pid.as_raw(), number(place))).collect()
    }

    #[test]
    fn who_was_there_before_a_restart_is_of_the_generation_that_it_left() {
        let mut generations = InferredGenerations::since(Generation::new(4), iter::empty());
        assert_eq!(placed(&mut generations, 1000, &[(11, 20)], &[]), [(11, 4)]);
        let children = [(11, 20), (12, 1500), (13, 2010)];
        let expected = [(11, 4), (12, 4), (13, 5)];
        assert_eq!(placed(&mut generations, 2100, &children, &[2001]), expected, "12 was not seen");
        assert_eq!(
            placed(&mut generations, 3000, &[(13, 2010), (14, 2900)], &[]),
            [(13, 5), (14, 5)]
        );
    }

    #[test]
    fn of_several_restarts_each_has_its_children() {
        let mut generations = InferredGenerations::since(Generation::new(0), iter::empty());
        let children = [(11, 20), (12, 2050), (13, 2150)];
        let expected = [(11, 0), (12, 1), (13, 2)];
        assert_eq!(placed(&mut generations, 2200, &children, &[2001, 2101]), expected);
        assert_eq!(generations.running(), Generation::new(2));
    }

    #[test]
    fn a_child_that_was_seen_before_its_restart_was_is_of_that_restart_however_long_it_lasts() {
        let mut generations = InferredGenerations::since(Generation::new(0), iter::empty());
        assert_eq!(placed(&mut generations, 1000, &[(11, 20)], &[]), [(11, 0)]);
        // The pid file was read before it was written, and the children after that.
        placed(&mut generations, 2010, &[(12, 2005)], &[]);
        placed_while(&mut generations, 2012, &[(12, 2005)], &[], true);
        placed_while(&mut generations, 2020, &[(12, 2005)], &[], true);
        assert_eq!(placed(&mut generations, 2040, &[(12, 2005)], &[2001]), [(12, 1)]);
    }
}
