//! Generations of a parent whose scoreboard is closed to us: counted by its restarts.

use super::ServerTracker;
use crate::{
    model::{
        event::Event,
        scoreboard::Generation,
        snapshot::{ParentSighting, Part, ServerSnapshot},
        source::Why,
        time::Moment,
    },
    track::{
        children::{self, Placements},
        inferred::InferredGenerations,
        look::Look,
    },
};

impl ServerTracker {
    /// The generation of each child, by its slot or, where that cannot be read, by its birth.
    pub(super) fn placements(&self, snapshot: &ServerSnapshot) -> Placements {
        let slots = self.scoreboard(snapshot).and_then(|board| board.slots.as_deref());
        let inferred = self.inferred.as_ref().filter(|_| self.up.is_some());
        match (slots, inferred) {
            (Some(slots), _) => children::placements(slots),
            (None, Some(inferred)) => inferred.placements(),
            (None, None) => Placements::new(),
        }
    }

    /// Numbers the generations by the restarts of this look, and times their first children.
    pub(super) fn infer(
        &mut self,
        parent: &ParentSighting,
        look: &Look<'_>,
        events: &mut Vec<Event>,
    ) {
        match parent.scoreboard {
            // Other: the reading process has ended.
            Part::Unseen(Why::Permission | Why::Other) => {}
            // The slots number them.
            Part::Seen(_) => {
                self.inferred = None;
                return;
            }
            Part::Unseen(_) => return,
        }
        let start = self.running.unwrap_or_default();
        let own = self.children.workers().iter().filter(|(_, it)| it.parent == self.parents);
        let known = own.map(|(id, descent)| (*id, descent.generation));
        let inferred =
            self.inferred.get_or_insert_with(|| InferredGenerations::since(start, known));
        let undecided = self.up.as_ref().is_some_and(|up| up.restart.in_progress().is_some());
        inferred.observe(look, events, undecided);
        self.running = Some(inferred.running());
        for event in events.iter() {
            // One that tells no duration began when nobody looked, or at an unknown moment.
            if let Event::Restarted { kind, began, took: Some(took), left: Some(left), .. } = event
            {
                let resumed = Some(began.after(*took));
                self.first_children.restarted(*kind, *began, resumed, left.advanced_by(1));
            }
        }
        let Some(table) = look.table else { return };
        let births = inferred.placements().into_iter().filter_map(|(pid, place)| {
            let child = table.living(pid)?;
            Some((place.generation, look.at.at_uptime(child.id.started)))
        });
        let births: Vec<(Generation, Moment)> = births.collect();
        events.extend(self.first_children.observe(&births));
    }
}
