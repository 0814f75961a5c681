//! What a look reads beside what must be seen first: the log, httpd's own words, resources.

use tracing::warn;

use super::{MOST_PARENTS, Server};
use crate::{
    model::{
        log::LogReport,
        process::{ChildRole, Pid, ProcessId, ProcessState},
        resources::Resources,
        snapshot::{Part, ServerSnapshot},
        source::{Source, Why},
        time::Moment,
    },
    observe::{
        log_source::LogChoice,
        resources::{ResourceInstruments, Tree},
    },
    watch::{
        mend::{mend, mend_named_log},
        side::SideInstruments,
    },
};

impl Server {
    /// A unit that an operator named may be misspelt.
    pub(super) fn doubt_unit(&mut self) {
        let empty = self.observer.parent().is_none() && self.parents.is_empty();
        if let Some(unit) = self.observer.target().unit.as_ref().filter(|_| empty)
            && !self.unit_is_empty
        {
            warn!(server = self.name, unit, "no httpd in the unit");
        }
        self.unit_is_empty = empty;
    }

    /// Reads the log, and asks whom it is time to ask.
    pub(super) fn look_aside(
        &mut self,
        at: Moment,
        side: &mut SideInstruments<'_>,
    ) -> Option<Part<LogReport>> {
        let parent = self.observer.parent();
        if let Some(id) = parent.filter(|id| self.parents.back() != Some(&id.pid)) {
            self.parents.push_back(id.pid);
            if self.parents.len() > MOST_PARENTS {
                self.parents.pop_front();
            }
        }
        if let Some(parent) = parent {
            match side.asker {
                Some(asker) => {
                    self.inquiry.tend(at, parent, asker, side.scoreboards);
                }
                None => self.inquiry.forbid(),
            }
            if let Some(asker) = &mut side.statuses {
                self.status.tend(at, side.interval, asker);
            }
        }
        let mut log = self.log.read(parent, self.inquiry.error_log(), side.logs);
        if let Some(Part::Seen(report)) = &mut log {
            let own = |pid: &Pid| side.owners.get(pid).is_none_or(|owner| *owner == self.number);
            report.claims.retain(|claim| claim.pid.as_ref().is_none_or(own));
        }
        log
    }

    pub(super) fn mend(&self, source: Source, why: Why) -> Option<&'static str> {
        if source == Source::ErrorLog && matches!(self.choices.error_log, LogChoice::Path(_)) {
            return mend_named_log(why);
        }
        mend(source, why)
    }

    /// Reads what the processes of this look use, and what they may.
    pub(super) fn look_at_resources(
        &mut self,
        snapshot: &ServerSnapshot,
        living: &[ProcessId],
        side: &mut SideInstruments<'_>,
    ) -> Resources {
        let parent = snapshot.parent.as_ref();
        let assessment = self.tracker.assessment();
        let drains = assessment.drains.as_ref().is_some_and(|drains| !drains.is_empty());
        let tree = parent.map(|parent| Tree {
            at: snapshot.at,
            parent: parent.id,
            children: living,
            overlaps: drains || assessment.restart_since.is_some(),
            heats: assessment.restart_since.is_some()
                || assessment.headroom.limits.heats_until >= Some(snapshot.at),
            settings: self.inquiry.settings(parent.id),
        });
        self.resources.look(
            tree.as_ref(),
            &mut ResourceInstruments {
                table: side.table,
                readers: side.scoreboards,
                host: side.host,
            },
        )
    }
}

/// The living worker children of a look, orphans included.
pub(super) fn living(snapshot: &ServerSnapshot) -> Vec<ProcessId> {
    let table = snapshot.parent.as_ref().and_then(|parent| parent.processes.seen());
    let children = table.into_iter().flat_map(|table| table.children.values());
    let workers = children.filter(|child| child.role == ChildRole::Httpd).chain(&snapshot.orphans);
    let living = workers.filter(|child| child.state != ProcessState::Ended);
    living.map(|child| child.id).collect()
}
