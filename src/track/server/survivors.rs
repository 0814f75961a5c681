//! Children that outlive the beginning of a restart that ends their parent.

use super::ServerTracker;
use crate::model::{
    process::{ProcessId, ProcessState},
    snapshot::{ServerSnapshot, TraceKind},
    time::Moment,
};

impl ServerTracker {
    /// Another parent served before this one, which does not yet.
    #[must_use]
    pub fn awaits_full_restart(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.full.is_some())
    }

    /// Remembers who was seen stopped, or frozen under a deadly signal.
    pub(super) fn notice_halted(&mut self, snapshot: &ServerSnapshot) {
        let table = snapshot.parent.as_ref().and_then(|parent| parent.processes.seen());
        if let Some(table) = table.filter(|_| self.up.is_some()) {
            self.halted = table.halted.iter().copied().collect();
        }
    }

    /// The parent ended after its configuration was `opened`, and a child of it later, or not yet.
    /// One that is stopped or frozen proves nothing: a hard restart leaves it behind.
    pub(super) fn has_survivor(&self, snapshot: &ServerSnapshot, opened: Moment) -> bool {
        let lives = |id: &ProcessId| {
            let mut orphans = snapshot.orphans.iter();
            orphans.any(|child| child.id == *id && child.state == ProcessState::Alive)
        };
        let bears_witness = |id: &ProcessId| !self.halted.contains(id);
        self.children.workers().iter().filter(|(id, _)| bears_witness(id)).any(|(id, descent)| {
            let mut exits = snapshot.traces.iter().filter(|it| it.kind == TraceKind::Exited(*id));
            let outlived = exits.next().map_or_else(|| lives(id), |exit| exit.at > opened);
            descent.parent == self.parents && outlived
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{event::RestartType, process::ExitStatus},
        track::fixture::{Story, process},
    };

    /// A parent that opens its configuration at 5 s and ends 10 ms later, and when its two
    /// children left.
    fn failed(children: [u64; 2]) -> RestartType {
        let mut story = Story::of_a_running_httpd();
        let mut exits = vec![(11, children[0]), (12, children[1])];
        exits.retain(|(_, at)| *at < 5000);
        for (pid, at) in exits {
            story.exit(pid, at, ExitStatus::Code(0));
        }
        story.trace(5000, TraceKind::ConfigOpened);
        for (pid, at) in [(11, children[0]), (12, children[1])] {
            if (5000..6000).contains(&at) {
                story.exit(pid, at, ExitStatus::Code(0));
            }
        }
        story.ended(process(1, 0), 5010, Some(ExitStatus::Code(1)));
        story.parent = None;
        story.orphans = story.children.drain(..).map(|(pid, start, _)| (pid, start)).collect();
        story.look(5020);
        // Why is known a second later, where httpd said nothing.
        story.look(6020);
        assert_eq!(story.tally.failures.values().sum::<u64>(), 1);
        assert_eq!(story.tally.last_restart.len(), 1);
        story.tally.last_restart.pop_first().unwrap().0
    }

    #[test]
    fn a_frozen_child_outlives_a_hard_restart_too() {
        for halted in [false, true] {
            let mut story = Story::of_a_running_httpd();
            story.exit(12, 5010, ExitStatus::Code(0));
            story.generation = 1;
            story.look(5020);
            story.halted = halted.then(|| process(11, 20)).into_iter().collect();
            story.look(10_000);
            story.trace(15_300, TraceKind::ConfigOpened);
            story.ended(process(1, 0), 15_310, Some(ExitStatus::Code(1)));
            story.parent = None;
            story.orphans = story.children.drain(..).map(|(pid, start, _)| (pid, start)).collect();
            story.look(15_320);
            story.look(16_400);
            let kind = if halted { RestartType::Unknown } else { RestartType::Graceful };
            assert!(story.tally.last_restart.contains_key(&kind));
        }
    }

    #[test]
    fn a_child_whose_end_nobody_stamped_is_no_survivor() {
        let mut story = Story::of_a_running_httpd();
        story.trace(5000, TraceKind::ConfigOpened);
        story.ended(process(1, 0), 5010, Some(ExitStatus::Code(1)));
        story.parent = None;
        story.children.clear();
        story.look(5020);
        story.look(6020);
        assert!(story.tally.last_restart.contains_key(&RestartType::Unknown));
    }

    #[test]
    fn a_child_that_outlives_the_opening_of_the_configuration_was_not_ended_by_a_hard_restart() {
        assert_eq!(failed([5004, 5012]), RestartType::Graceful);
        assert_eq!(failed([4900, 9999]), RestartType::Graceful, "busy, and an orphan now");
        assert_eq!(failed([4900, 4950]), RestartType::Unknown);
    }
}
