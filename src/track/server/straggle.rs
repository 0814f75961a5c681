//! The old children of a server, put together for [`StragglerTracker`].
//!
//! [`StragglerTracker`]: crate::track::stragglers::StragglerTracker

use std::collections::BTreeMap;

use super::ServerTracker;
use crate::{
    model::{
        process::{Pid, ProcessId, ProcessState},
        scoreboard::Generation,
        snapshot::ServerSnapshot,
        straggler::Straggler,
        time::Moment,
    },
    track::{
        children::Descent,
        stragglers::{Crew, OldChild},
    },
};

impl ServerTracker {
    /// Follows the old children that live, the oldest first: as many as are counted as such.
    pub(super) fn straggle(&mut self, snapshot: &ServerSnapshot) -> Vec<Straggler> {
        let states: Option<BTreeMap<ProcessId, ProcessState>> = self
            .present(snapshot)
            .map(|present| present.iter().map(|child| (child.id, child.state)).collect());
        let crews = self.crews(snapshot);
        let workers = self.children.workers().iter();
        let mut old: Vec<(Descent, OldChild<'_>)> = workers
            .filter(|(_, descent)| !self.is_current(**descent))
            .map(|(id, descent)| {
                let child = OldChild {
                    id: *id,
                    // Counted by restarts, a number would not be httpd's own.
                    generation: self.inferred.is_none().then_some(descent.generation),
                    since: self.old_since(*descent),
                    state: states.as_ref().and_then(|states| states.get(id).copied()),
                    crew: crews
                        .get(&(id.pid, descent.generation))
                        .filter(|_| descent.parent == self.parents)
                        .copied(),
                };
                (*descent, child)
            })
            .collect();
        old.sort_by_key(|(descent, child)| (*descent, child.id.started));
        let old: Vec<OldChild<'_>> = old.into_iter().map(|(_, child)| child).collect();
        let restarting = self.restart_since();
        self.stragglers.observe(snapshot.at, restarting, &old)
    }

    /// What a dead parent left behind is old.
    pub(super) fn is_current(&self, descent: Descent) -> bool {
        let running = self.running_descent();
        self.up.is_some() && running.is_some_and(|running| descent >= running)
    }

    /// The restart that made it old, as far as that drains.
    fn old_since(&self, descent: Descent) -> Option<Moment> {
        if descent.parent != self.parents || self.up.is_none() {
            return None;
        }
        let mut open = self.drains.open();
        open.find(|(generation, _)| *generation == descent.generation).map(|(_, began)| began)
    }

    /// What the slots tell of each child: a slot may be another's by now, and a survivor of a hard
    /// restart has none.
    fn crews<'a>(&self, snapshot: &'a ServerSnapshot) -> BTreeMap<(Pid, Generation), Crew<'a>> {
        let slots = self.scoreboard(snapshot).and_then(|board| board.slots.as_deref());
        let slots = slots.unwrap_or_default();
        let predecessors = slots.iter().flat_map(|slot| &slot.predecessors);
        let older =
            predecessors.map(|child| ((child.pid, child.generation), Crew::of_predecessor(child)));
        let owners = slots.iter().map(|slot| ((slot.pid, slot.generation), Crew::of_slot(slot)));
        older.chain(owners).collect()
    }
}
