//! Children: which are there, of which generation, how they ended, how long generations overlapped.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::model::{
    event::{Event, ExitReason},
    process::{Child, ExitStatus, ProcessId, ProcessState},
    scoreboard::{Generation, SlotRecord, WorkerStatus},
    snapshot::{Trace, TraceKind},
    time::Moment,
};

/// A child that exits in order may be the first that a stop or a hard restart ended: only then is
/// it known which, when the parent has ended or resumed.
const STOP_MAY_FOLLOW: Duration = Duration::from_secs(2);

/// What one look says about children.
#[derive(Clone, Copy, Debug)]
pub struct Nursery<'a> {
    /// When.
    pub at: Moment,
    /// The parent's children and this server's orphans; `None` if they could not be read.
    pub present: Option<&'a [Child]>,
    /// The slots in use, if they were read and proven.
    pub slots: &'a [SlotRecord],
    /// The running generation; of the last parent, while there is none.
    pub running: Option<Descent>,
    /// What the kernel stamped since the last look.
    pub traces: &'a [Trace],
    /// Exit statuses learned in this look.
    pub statuses: &'a [(ProcessId, Option<ExitStatus>)],
}

/// Where a child comes from. Every parent counts its generations from zero, so the parent comes
/// first: what an earlier one left behind is older than anything of this one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Descent {
    /// The server's how-manieth parent.
    pub parent: u32,
    /// That parent's generation.
    pub generation: Generation,
}

/// A child that is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Where it came from.
    pub descent: Descent,
    /// When it ended.
    pub at: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Exit {
    at: Moment,
    old: bool,
    ended_by_parent: bool,
    status: Status,
}

#[derive(Clone, Copy, Debug)]
enum Status {
    Awaited,
    Known(ExitStatus),
    Lost,
}

/// Follows the children of one server, beyond the end of a parent.
#[derive(Clone, Debug, Default)]
pub struct ChildrenTracker {
    workers: BTreeMap<ProcessId, Descent>,
    exits: BTreeMap<ProcessId, Exit>,
    overlap_since: Option<Moment>,
    counts_starts: bool,
}

impl ChildrenTracker {
    /// A tracker for a server of which nothing was seen yet: its first children count as started
    /// only if `counts_starts`.
    #[must_use]
    pub fn new(counts_starts: bool) -> Self {
        Self { counts_starts, ..Self::default() }
    }

    /// The living worker children and their descent.
    #[must_use]
    pub const fn workers(&self) -> &BTreeMap<ProcessId, Descent> {
        &self.workers
    }

    /// The distinct generations that have a living child.
    #[must_use]
    pub fn generations(&self) -> BTreeSet<Descent> {
        self.workers.values().copied().collect()
    }

    /// Folds one look; also returns who left.
    pub fn observe(&mut self, nursery: &Nursery<'_>) -> (Vec<Event>, Vec<Departure>) {
        let mut events = Vec::new();
        let departures = self.depart(nursery);
        self.arrive(nursery, &mut events);
        self.overlap(nursery.at, &departures, &mut events);
        for (id, status) in nursery.statuses {
            if let Some(exit) = self.exits.get_mut(id) {
                exit.status = status.map_or(Status::Lost, Status::Known);
            }
        }
        (events, departures)
    }

    /// The parent ended these children itself: a hard restart that began then, or a stop.
    pub fn ended_by_parent(&mut self, since: Moment) {
        for exit in self.exits.values_mut().filter(|exit| exit.at >= since) {
            exit.ended_by_parent = true;
        }
    }

    /// The parent has ended: what left just before it left because of it.
    pub fn parent_ended(&mut self, at: Moment) {
        for exit in self.exits.values_mut() {
            exit.ended_by_parent |= !exit.old && at.since(exit.at) < STOP_MAY_FOLLOW;
        }
    }

    /// Says why children ended, as far as it is decided: not in the middle of a restart, whose
    /// type is not known yet.
    pub fn explain(&mut self, at: Moment, restart_in_progress: bool) -> Vec<Event> {
        let mut events = Vec::new();
        self.exits.retain(|_, exit| {
            let reason = reason(exit, at, restart_in_progress);
            events.extend(reason.map(|reason| Event::ChildExited { reason }));
            reason.is_none()
        });
        events
    }

    fn depart(&mut self, nursery: &Nursery<'_>) -> Vec<Departure> {
        let stamped: BTreeMap<ProcessId, Moment> = nursery
            .traces
            .iter()
            .filter_map(|trace| match trace.kind {
                TraceKind::Exited(id) => Some((id, trace.at)),
                TraceKind::ConfigOpened | TraceKind::PidFileWritten | TraceKind::PidFileRemoved => {
                    None
                }
            })
            .collect();
        let living: Option<BTreeSet<ProcessId>> = nursery.present.map(|present| {
            let living = present.iter().filter(|child| child.state != ProcessState::Ended);
            living.map(|child| child.id).collect()
        });
        let mut departures = Vec::new();
        let exits = &mut self.exits;
        self.workers.retain(|id, descent| {
            let gone = living.as_ref().is_some_and(|living| !living.contains(id));
            let at = stamped.get(id).copied().or_else(|| gone.then_some(nursery.at));
            if let Some(at) = at {
                let old = nursery.running.is_some_and(|running| *descent < running);
                let exit = Exit { at, old, ended_by_parent: false, status: Status::Awaited };
                exits.insert(*id, exit);
                departures.push(Departure { descent: *descent, at });
            }
            at.is_none()
        });
        departures
    }

    fn arrive(&mut self, nursery: &Nursery<'_>, events: &mut Vec<Event>) {
        let (Some(present), Some(running)) = (nursery.present, nursery.running) else {
            return;
        };
        let slots: BTreeMap<_, _> = nursery.slots.iter().map(|slot| (slot.pid, slot)).collect();
        let mut started = 0;
        for child in present {
            if child.state == ProcessState::Ended {
                continue;
            }
            // Its program may rename itself; the cgid daemon, which has the parent's program,
            // never has a slot.
            let Some(slot) = slots.get(&child.id.pid) else {
                continue;
            };
            let known = self.workers.contains_key(&child.id);
            if !known && slot.generation < running.generation && is_starting(slot) {
                // Up to 2.4.17 a slot keeps its last child's generation until a worker is ready.
                continue;
            }
            let descent = Descent { parent: running.parent, generation: slot.generation };
            self.workers.insert(child.id, descent);
            started += u32::from(!known);
        }
        if started > 0 && self.counts_starts {
            events.push(Event::ChildrenStarted { count: started });
        }
        self.counts_starts |= started > 0;
    }

    /// Generations overlap from the first child of the younger to the last of the older.
    fn overlap(&mut self, at: Moment, departures: &[Departure], events: &mut Vec<Event>) {
        let mut ended = departures.iter().filter(|left| self.is_older(left.descent));
        let alive = self.generations().len() > 1;
        let until = if alive { Some(at) } else { ended.by_ref().map(|left| left.at).max() };
        let since = self.overlap_since.or_else(|| self.youngest_since(at));
        if let (Some(until), Some(since)) = (until, since)
            && (alive || until > since)
        {
            events.push(Event::Overlapped { lasted: until.since(since) });
        }
        self.overlap_since = alive.then_some(at);
    }

    fn is_older(&self, descent: Descent) -> bool {
        self.workers.values().any(|living| *living > descent)
    }

    fn youngest_since(&self, at: Moment) -> Option<Moment> {
        let youngest = self.workers.values().max()?;
        let children = self.workers.iter().filter(|(_, descent)| *descent == youngest);
        children.map(|(id, _)| at.at_uptime(id.started)).min()
    }
}

fn is_starting(slot: &SlotRecord) -> bool {
    let mut statuses = slot.workers.iter().map(|(status, _)| *status);
    statuses.all(|status| status == WorkerStatus::Starting)
}

fn reason(exit: &Exit, at: Moment, restart_in_progress: bool) -> Option<ExitReason> {
    match exit.status {
        Status::Awaited => None,
        Status::Lost => Some(ExitReason::Unknown),
        Status::Known(ExitStatus::Signal(11)) => Some(ExitReason::Segv),
        Status::Known(ExitStatus::Signal(6)) => Some(ExitReason::Abort),
        Status::Known(ExitStatus::Signal(9)) => Some(ExitReason::Killed),
        Status::Known(ExitStatus::Signal(_)) => Some(ExitReason::Signal),
        Status::Known(ExitStatus::Code(0)) if exit.ended_by_parent => Some(ExitReason::Terminated),
        Status::Known(ExitStatus::Code(0)) if restart_in_progress => None,
        Status::Known(ExitStatus::Code(0)) if exit.old => Some(ExitReason::Drained),
        Status::Known(ExitStatus::Code(0)) if at.since(exit.at) < STOP_MAY_FOLLOW => None,
        Status::Known(ExitStatus::Code(0)) => Some(ExitReason::Recycled),
        Status::Known(ExitStatus::Code(_)) => Some(ExitReason::Fatal),
    }
}
