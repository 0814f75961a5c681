//! Which helpers are no news: who lived while httpd ran normally, and whoever is called like them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{
    process::ProcessId,
    time::Moment,
    waiting::{Helper, HelperKind, Waiting},
};

/// A dialog that was answered leaves within this time; what looks like one and stays is none.
const STAYS: Duration = Duration::from_secs(10);

/// What is known of one server's helpers.
#[derive(Clone, Debug, Default)]
pub(super) struct Familiar {
    /// Whose helpers are known.
    of: Option<ProcessId>,
    /// The helpers of a parent that runs normally.
    ordinary: BTreeSet<ProcessId>,
    /// How they are called.
    commands: BTreeSet<Vec<u8>>,
    /// Who asked for the last pass phrase: it may outlive its answer by a moment.
    dialog: Option<ProcessId>,
    /// How often who reads had run when its helpers were last seen to live.
    turns: BTreeMap<ProcessId, u64>,
}

impl Familiar {
    /// What lives while httpd runs normally is no dialog.
    pub(super) fn learn(&mut self, at: Moment, id: ProcessId, waiting: &Waiting) {
        self.of = Some(id);
        self.turns.clear();
        self.ordinary = waiting.helpers.iter().map(|helper| helper.id).collect();
        let others = waiting.helpers.iter().filter(|helper| {
            let stays = at.since(at.at_uptime(helper.id.started)) >= STAYS;
            let asks = helper.kind == HelperKind::Asker || self.dialog == Some(helper.id);
            !asks || stays || self.commands.contains(&helper.command)
        });
        self.commands = others.map(|helper| helper.command.clone()).collect();
    }

    /// A pass phrase is asked for, by this program if it is one.
    pub(super) const fn note_dialog(&mut self, helper: Option<ProcessId>) {
        self.dialog = helper;
    }

    /// A parent of this server was seen to run normally.
    pub(super) const fn knows_somebody(&self) -> bool {
        self.of.is_some()
    }

    /// Who may be waited for by an httpd that reads.
    pub(super) fn new_helpers<'a>(
        &'a self,
        asker: ProcessId,
        waiting: &'a Waiting,
    ) -> impl Iterator<Item = &'a Helper> {
        let is_familiar = self.of == Some(asker);
        waiting.helpers.iter().filter(move |helper| {
            let known = is_familiar && self.ordinary.contains(&helper.id);
            let left = helper.ended
                && !(helper.kind == HelperKind::Asker
                    && self.has_not_run_since(helper.id, waiting));
            // The next parent has the same loggers as the last one.
            let named = self.commands.contains(&helper.command);
            !known && !left && !named && helper.kind != HelperKind::Logger
        })
    }

    /// Remembers how often who reads had run while its helpers lived.
    pub(super) fn note_turns(&mut self, waiting: &Waiting) {
        self.turns.retain(|id, _| waiting.helpers.iter().any(|helper| helper.id == *id));
        if let Some(turns) = waiting.turns {
            let living = waiting.helpers.iter().filter(|helper| !helper.ended);
            self.turns.extend(living.map(|helper| (helper.id, turns)));
        }
    }

    /// Whether who reads has not run since this helper was last seen to live: it still waits for
    /// what the helper, or a child of it, is to write.
    pub(super) fn has_not_run_since(&self, helper: ProcessId, waiting: &Waiting) -> bool {
        waiting.turns.is_some_and(|turns| self.turns.get(&helper) == Some(&turns))
    }
}
