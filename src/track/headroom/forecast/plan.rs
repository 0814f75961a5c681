//! Who will be there at the peak of a graceful restart now: which children a request holds, and how
//! many the new generation needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::super::HeadroomLook;
use crate::{
    model::{
        headroom::Role,
        process::{Pid, ProcessId},
        scoreboard::{Global, SlotRecord, WorkerStatus},
        settings::{ChildLimits, Mpm, ServerSettings},
        time::{Moment, Timestamp, Uptime},
    },
    track::count::to_u32,
};

/// The new generation comes about a second after the signal, and what is over by then holds nobody.
/// In a steady load as many requests have so long to go as have been going on for so long.
const OUTLIVES: Duration = Duration::from_secs(1);
/// Where no times are told, what is found in each look for so long is one long request.
const LONG_AT_WORK: Duration = Duration::from_secs(3);

/// Who will be there at the peak of a graceful restart now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Children that the new generation starts with.
    pub starts: u32,
    /// Children that it grows to before old ones leave.
    pub grows_to: u32,
    /// Old children that stay, because a request holds them: those of older generations too.
    pub stay: u32,
    /// Children that leave at once.
    pub leave: u32,
    /// Threads of one child, its main thread and its listener included.
    pub threads: u32,
    /// Threads that end at once, by the running generation's own number: all of its children that
    /// leave, and the idle workers of those that stay. Children that were told before are left out:
    /// few of their threads are there still.
    pub threads_freed: u32,
}

/// A plan, and what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prospect {
    pub(super) plan: Plan,
    /// Children that the new generation must find slots for: those that it starts with, or as many
    /// as the requests of now take, if those are more.
    pub(super) slots_needed: u32,
    /// Slots that it will find.
    pub(super) slots_left: u32,
    /// Who stays.
    pub(super) staying: BTreeSet<ProcessId>,
}

/// Makes plans, and remembers for how long each child has been at work.
#[derive(Clone, Debug, Default)]
pub(super) struct Planner {
    /// What no beginning is told of, since when every look has found it; `None` if the first one did
    /// where no times are told at all, so that it may be of any age.
    at_work: BTreeMap<(ProcessId, Untimed), Option<Moment>>,
    /// There was a look before.
    has_looked: bool,
}

/// Something that is going on in a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Untimed {
    /// A worker's request; once it is ready for another, its time is another too. Without times
    /// there is one for all.
    Request(Timestamp),
    /// Some connection that no worker is at.
    Connection,
}

/// A request where no times are told.
const UNTIMED: Untimed = Untimed::Request(Timestamp::from_micros(0));

/// The children of one look, summed up.
#[derive(Default)]
struct Census {
    staying: BTreeSet<ProcessId>,
    leave: u32,
    /// Children of the running generation that were not told to leave.
    current: u32,
    /// Those of them that stay.
    current_staying: u32,
    /// Busy workers of each slot that stays.
    slots_kept: Vec<u32>,
    /// Workers at requests that will be over.
    passing: u32,
    /// Most workers of one child.
    workers: u32,
    /// Threads of the running generation that end at once.
    threads_freed: u32,
}

/// What keeps one child, or not.
#[derive(Clone, Copy, Default)]
struct Load {
    /// Workers at a request.
    busy: u32,
    /// Those of them whose request began long ago.
    long: u32,
}

impl Planner {
    /// Plans a restart; `None` while the slots are not read.
    pub(super) fn observe(&mut self, look: &HeadroomLook<'_>) -> Option<Prospect> {
        let scoreboard = look.scoreboard?;
        let is_threaded = scoreboard.global.thread_limit > 1;
        let census = self.count(look, scoreboard.slots.as_deref()?, is_threaded);
        let sizes = Sizes::of(look.resources.settings.as_ref(), &scoreboard.global, &census);
        let stay = to_u32(census.staying.len());
        let slots_left = census.slots_left(&sizes, scoreboard.global.server_limit);
        let plan = Plan {
            starts: sizes.starts,
            grows_to: sizes.grows_to(census.passing).min(slots_left),
            stay,
            leave: census.leave,
            threads: if is_threaded { sizes.threads.saturating_add(2) } else { 1 },
            threads_freed: census.threads_freed,
        };
        let slots_needed = sizes.starts.max(census.passing.div_ceil(sizes.threads)).min(sizes.most);
        Some(Prospect { plan, slots_needed, slots_left, staying: census.staying })
    }

    fn count(
        &mut self,
        look: &HeadroomLook<'_>,
        slots: &[SlotRecord],
        is_threaded: bool,
    ) -> Census {
        let mut census = Census::default();
        let mut at_work = BTreeMap::new();
        let mut listed_old = BTreeSet::new();
        for slot in slots {
            for older in &slot.predecessors {
                let Some((id, _)) = living(look, older.pid) else { continue };
                listed_old.insert(id);
                if workers(&older.workers, WorkerStatus::is_at_request) > 0
                    || older.graceful.at_request > 0
                {
                    census.staying.insert(id);
                }
            }
            let Some((id, role)) = living(look, slot.pid) else { continue };
            if role == Role::Old {
                listed_old.insert(id);
            }
            let is_current = role == Role::Current && !slot.quiescing;
            let load = if is_current { Load::of(slot, look.at.wall) } else { Load::of_old(slot) };
            let mut stays = load.long > 0;
            for thing in untimed(slot).filter(|_| is_current) {
                let known = self.at_work.get(&(id, thing)).copied();
                let is_new = self.has_looked || thing != UNTIMED;
                let since = known.unwrap_or(is_new.then_some(look.at));
                stays |= since.is_none_or(|since| look.at.since(since) >= LONG_AT_WORK);
                at_work.insert((id, thing), since);
            }
            census.add(slot, is_current, load);
            if is_current {
                let freed = threads_freed(slot, stays, is_threaded);
                census.threads_freed = census.threads_freed.saturating_add(freed);
            }
            if stays {
                census.keep(id, slot, is_current);
            } else {
                census.leave += 1;
            }
        }
        // Orphans were told before, or will not be.
        let old = look.roles.iter().filter(|(_, role)| **role == Role::Old);
        census.staying.extend(old.map(|(id, _)| *id).filter(|id| !listed_old.contains(id)));
        (self.at_work, self.has_looked) = (at_work, true);
        census
    }
}

impl Census {
    fn add(&mut self, slot: &SlotRecord, is_current: bool, load: Load) {
        self.workers = self.workers.max(workers(&slot.workers, |_| true));
        if is_current {
            self.current += 1;
            self.passing = self.passing.saturating_add(load.busy.saturating_sub(load.long));
        }
    }

    fn keep(&mut self, id: ProcessId, slot: &SlotRecord, is_current: bool) {
        self.staying.insert(id);
        self.current_staying += u32::from(is_current);
        self.slots_kept.push(workers(&slot.workers, WorkerStatus::is_busy));
    }

    /// Slots that the new generation finds. `worker.c` and `prefork.c` look for slots only among as
    /// many as one generation may have; but a new child of worker takes the slot of one that is
    /// leaving as soon as one of its threads has left.
    fn slots_left(&self, sizes: &Sizes, server_limit: u32) -> u32 {
        let slots = if sizes.mpm == Some(Mpm::Event) { server_limit } else { sizes.most };
        let is_held = |busy: &&u32| sizes.mpm != Some(Mpm::Worker) || **busy >= sizes.threads;
        slots.saturating_sub(to_u32(self.slots_kept.iter().filter(is_held).count()))
    }
}

impl Load {
    /// A child that would be told to leave.
    fn of(slot: &SlotRecord, now: Timestamp) -> Self {
        let age = |begun: &Timestamp| now.as_micros().saturating_sub(begun.as_micros());
        let outlives = i64::try_from(OUTLIVES.as_micros()).unwrap_or(i64::MAX);
        let busy = workers(&slot.workers, WorkerStatus::is_at_request)
            .saturating_add(slot.graceful.at_request);
        let long = to_u32(slot.begun.iter().filter(|begun| age(begun) >= outlives).count());
        Self { busy, long }
    }

    /// A child that was told: what goes on there now was going on then.
    fn of_old(slot: &SlotRecord) -> Self {
        let graceful = slot.graceful;
        let said = workers(&slot.workers, |status| status == WorkerStatus::Graceful);
        // A worker of event is graceful while it waits, too; prefork's parent says so of any.
        let untold =
            said.saturating_sub(graceful.at_request.saturating_add(graceful.after_request));
        let is_prefork = !slot.quiescing;
        let waits = slot.waiting.write_completion.saturating_add(slot.waiting.suspended);
        let busy = workers(&slot.workers, WorkerStatus::is_at_request)
            .saturating_add(graceful.at_request)
            .saturating_add(if is_prefork { untold } else { 0 });
        Self { busy, long: busy.saturating_add(waits) }
    }
}

/// How many children the new generation has.
#[derive(Clone, Copy)]
struct Sizes {
    starts: u32,
    /// Idle workers that it keeps; `None` where the configuration is not known.
    spare: Option<u32>,
    /// Most children of one generation.
    most: u32,
    /// Workers of one child.
    threads: u32,
    /// As the configuration names it: where it is not known, whoever stays is taken to keep its slot.
    mpm: Option<Mpm>,
}

impl Sizes {
    fn of(settings: Option<&ServerSettings>, global: &Global, census: &Census) -> Self {
        let (slots, thread_slots) = (global.server_limit.max(1), global.thread_limit.max(1));
        let mpm = settings.and_then(|settings| settings.mpm);
        if let Some(settings) = settings.filter(|settings| !settings.is_partial) {
            let limits = settings.corrected(slots, thread_slots);
            let ChildLimits { starts, min_spare, threads, children, .. } = limits;
            let (spare, most) = (Some(min_spare), children);
            return Self { starts, spare, most, threads, mpm };
        }
        let threads = if census.workers > 0 { census.workers } else { thread_slots };
        // As many as run and are not held, but not fewer than httpd itself would start if there are
        // so many.
        let default = ServerSettings::default().corrected(slots, thread_slots).starts;
        let free = census.current.saturating_sub(census.current_staying);
        let starts = free.max(census.current.min(default)).clamp(1, slots);
        let threads = threads.clamp(1, thread_slots);
        Self { starts, spare: None, most: slots, threads, mpm }
    }

    /// Idle workers are kept beside those that are busy.
    fn grows_to(&self, passing: u32) -> u32 {
        let workers = passing.saturating_add(self.spare.unwrap_or(0));
        self.starts.max(workers.div_ceil(self.threads)).clamp(1, self.most)
    }
}

/// What is going on in a child for which no beginning is told.
fn untimed(slot: &SlotRecord) -> impl Iterator<Item = Untimed> {
    let waits = slot.waiting.write_completion > 0 || slot.waiting.suspended > 0;
    let requests = slot.untimed.iter().copied().map(Untimed::Request);
    requests.chain(waits.then_some(Untimed::Connection))
}

/// Threads of a child that end as soon as it is told to leave: if it stays, its main thread, its
/// listener and its busy workers go on.
fn threads_freed(slot: &SlotRecord, stays: bool, is_threaded: bool) -> u32 {
    match (is_threaded, stays) {
        (true, true) => workers(&slot.workers, |status| !status.is_busy()),
        (true, false) => workers(&slot.workers, |_| true).saturating_add(2),
        (false, true) => 0,
        (false, false) => 1,
    }
}

/// The living child of this number.
fn living(look: &HeadroomLook<'_>, pid: Pid) -> Option<(ProcessId, Role)> {
    let first = ProcessId { pid, started: Uptime::from_micros(0) };
    let last = ProcessId { pid, started: Uptime::from_micros(u64::MAX) };
    let mut found = look.roles.range(first..=last).filter(|(_, role)| **role != Role::Parent);
    found.next().map(|(id, role)| (*id, *role))
}

fn workers(counts: &[(WorkerStatus, u32)], which: impl Fn(WorkerStatus) -> bool) -> u32 {
    let counts = counts.iter().filter(|(status, _)| which(*status)).map(|(_, count)| *count);
    counts.fold(0, u32::saturating_add)
}
