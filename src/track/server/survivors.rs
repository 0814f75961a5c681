//! What a restart was that ended its parent: told by the children that outlived its beginning.

use super::ServerTracker;
use crate::model::{
    event::RestartType,
    snapshot::{ServerSnapshot, TraceKind},
    time::Moment,
};

impl ServerTracker {
    /// What the last restart was that ended its parent: graceful, if a child outlived the opening
    /// of the new configuration, else unknown.
    #[must_use]
    pub const fn failed_restart(&self) -> RestartType {
        self.failed
    }

    /// Another parent served before this one, which does not yet.
    #[must_use]
    pub fn awaits_full_restart(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.full.is_some())
    }

    /// The parent ended after its configuration was `opened`. A hard restart ends every child before
    /// it opens the configuration; a graceful one tells them to finish, which even idle ones do only
    /// after.
    pub(super) fn note_survivors(&mut self, snapshot: &ServerSnapshot, opened: Option<Moment>) {
        self.failed = RestartType::Unknown;
        let Some(opened) = opened else { return };
        let survived = self.children.workers().iter().any(|(id, descent)| {
            let mut exits = snapshot.traces.iter().filter(|it| it.kind == TraceKind::Exited(*id));
            descent.parent == self.parents && exits.all(|exit| exit.at > opened)
        });
        if survived {
            self.failed = RestartType::Graceful;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::process::ExitStatus,
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
        story.tracker.failed_restart()
    }

    #[test]
    fn a_child_that_outlives_the_opening_of_the_configuration_was_not_ended_by_a_hard_restart() {
        assert_eq!(failed([5004, 5012]), RestartType::Graceful);
        assert_eq!(failed([4900, 9999]), RestartType::Graceful, "busy, and an orphan now");
        assert_eq!(failed([4900, 4950]), RestartType::Unknown);
    }
}
