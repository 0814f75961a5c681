//! Children: which are there, of which generation, how they ended, how long generations overlapped.

mod exit;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::exit::{Exit, STOP_KILLS_WITHIN, STOP_MAY_FOLLOW, Status, crash, reason};
use crate::model::{
    event::{Event, RestartType},
    process::{Child, ChildRole, ExitStatus, Pid, ProcessId, ProcessState},
    scoreboard::{Generation, SlotRecord, WorkerStatus},
    snapshot::{Trace, TraceKind},
    time::Moment,
};

/// An idle child may leave before the opening of the configuration is stamped, with which a failed
/// restart begins of which nothing else was seen.
const SENT_AWAY_BEFORE: Duration = Duration::from_millis(250);

/// What one look says about children.
#[derive(Clone, Copy, Debug)]
pub struct Nursery<'a> {
    /// When.
    pub at: Moment,
    /// The parent's children and this server's orphans; `None` if they could not be read.
    pub present: Option<&'a [Child]>,
    /// Where worker children belong: by the slots, if they were read and proven.
    pub placements: &'a Placements,
    /// The running generation; of the last parent, while there is none.
    pub running: Option<Descent>,
    /// What the kernel stamped since the last look.
    pub traces: &'a [Trace],
    /// Exit statuses learned in this look.
    pub statuses: &'a [(ProcessId, Option<ExitStatus>)],
}

/// The generations of children, by their numbers.
pub type Placements = BTreeMap<Pid, Placement>;

/// The generation of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its generation.
    pub generation: Generation,
    /// None of its workers is ready yet.
    pub starting: bool,
}

/// What the slots tell.
#[must_use]
pub fn placements(slots: &[SlotRecord]) -> Placements {
    let place = |slot: &SlotRecord| {
        let placement = Placement { generation: slot.generation, starting: is_starting(slot) };
        (slot.pid, placement)
    };
    slots.iter().map(place).collect()
}

/// Where a child comes from. Every parent counts its generations from zero, so the parent comes
/// first: what an earlier one left behind is older than anything of this one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// Follows the children of one server, beyond the end of a parent.
#[derive(Clone, Debug, Default)]
pub struct ChildrenTracker {
    workers: BTreeMap<ProcessId, Descent>,
    exits: BTreeMap<ProcessId, Exit>,
    overlap_since: Option<Moment>,
    /// Children were seen before: those that appear now were started.
    counts_starts: bool,
    /// The last parent that ended, and when.
    parent_ended: Option<(u32, Moment)>,
    /// The last parent that ended and left children.
    bereft: Option<u32>,
    /// Why the last parent ended is not known yet.
    unexplained: bool,
    /// The last parent whose graceful restart failed: who is busy then finishes as an orphan.
    adrift: Option<u32>,
}

impl ChildrenTracker {
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

    /// A tracker that knows these children already.
    #[must_use]
    pub fn restored(workers: BTreeMap<ProcessId, Descent>) -> Self {
        Self { workers, counts_starts: true, ..Self::default() }
    }

    /// Folds one look; also returns who left.
    pub fn observe(&mut self, nursery: &Nursery<'_>) -> (Vec<Event>, Vec<Departure>) {
        let mut events = Vec::new();
        let first = !self.counts_starts;
        let departures = self.depart(nursery);
        self.arrive(nursery, first, &mut events);
        events.extend(self.overlap(nursery.at, first, &departures));
        self.learn(nursery.statuses);
        (events, departures)
    }

    /// The parent ended these children itself: a hard restart that began then, or a stop.
    pub fn ended_by_parent(&mut self, since: Moment) {
        for exit in self.exits.values_mut().filter(|exit| exit.at >= since) {
            exit.ended_by_parent = true;
        }
    }

    /// The type of a restart that began then was not told by a scoreboard: the children that were
    /// killed until then were by its ladder, which ends where the configuration is opened.
    pub fn killed_by_parent(&mut self, since: Moment) {
        let killed = self.exits.values_mut().filter(|exit| exit.was_killed());
        for exit in killed.filter(|exit| exit.at.after(STOP_KILLS_WITHIN) >= since) {
            exit.ended_by_parent = true;
        }
    }

    /// A graceful restart that began then sent these children away, which were of the running
    /// generation as far as was known.
    pub fn sent_away(&mut self, since: Moment) {
        for exit in self.exits.values_mut().filter(|exit| exit.at >= since) {
            exit.old = true;
        }
    }

    /// The parent has ended: what leaves about then leaves because of it.
    pub fn parent_ended(&mut self, parent: u32, at: Moment) {
        self.parent_ended = Some((parent, at));
        self.unexplained = true;
        self.bereft = self.bereft.max(self.workers.values().map(|descent| descent.parent).max());
    }

    /// It is known why that parent of the server ended: a restart of this type that began then
    /// failed, or else it was stopped.
    pub fn end_explained(&mut self, parent: u32, failed: Option<(RestartType, Moment)>) {
        self.unexplained = false;
        let Some((kind, began)) = failed else { return };
        let graceful = kind == RestartType::Graceful;
        self.adrift = Some(parent).filter(|_| graceful);
        let exits = self.exits.values_mut().filter(|exit| exit.descent.parent == parent);
        for exit in exits.filter(|exit| exit.at.after(SENT_AWAY_BEFORE) >= began) {
            exit.old = graceful;
        }
    }

    /// The generation of each child of this parent that was killed shortly before that moment.
    pub fn killed(&self, parent: u32, at: Moment) -> impl Iterator<Item = Generation> {
        let killed = self.exits.values().filter(move |exit| {
            let descends = exit.descent.parent == parent;
            descends && exit.was_killed() && at.since(exit.at) < STOP_KILLS_WITHIN
        });
        killed.map(|exit| exit.descent.generation)
    }

    /// Takes exit statuses that were learned.
    pub fn learn(&mut self, statuses: &[(ProcessId, Option<ExitStatus>)]) {
        for (id, status) in statuses {
            if let Some(exit) = self.exits.get_mut(id) {
                exit.status = status.map_or(Status::Lost, Status::Known);
            }
        }
    }

    /// Says why children ended, as far as it is decided: not in the middle of a restart, whose
    /// type is not known yet.
    pub fn explain(&mut self, at: Moment, restart_in_progress: bool) -> Vec<Event> {
        let mut events = Vec::new();
        let (adrift, unexplained) = (self.adrift, self.unexplained);
        let ended = self.parent_ended;
        self.exits.retain(|_, exit| {
            let ended = ended.filter(|(parent, _)| *parent == exit.descent.parent);
            let apart = ended.map(|(_, ended)| ended.since(exit.at).max(exit.at.since(ended)));
            let near = apart.is_some_and(|apart| apart < STOP_MAY_FOLLOW);
            if near && unexplained && exit.may_be_sent_away() && at.since(exit.at) < STOP_MAY_FOLLOW
            {
                return true;
            }
            // Whoever finishes as an orphan of a graceful restart that failed is nobody's.
            let free = exit.orphaned && adrift == Some(exit.descent.parent);
            exit.ended_by_parent |= near && !free && (exit.was_killed() || !exit.old);
            let reason = reason(exit, at, restart_in_progress);
            if let Some(reason) = reason {
                events.push(Event::ChildExited { reason });
                let crash = crash(exit, reason);
                events.extend(crash.map(|signal| Event::ChildCrashed { at: exit.at, signal }));
            }
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
                TraceKind::ConfigOpened
                | TraceKind::PidFileWritten
                | TraceKind::PidFileRemoved
                | TraceKind::Reaped(_)
                | TraceKind::Lingers(_) => None,
            })
            .collect();
        let living: Option<BTreeSet<ProcessId>> = nursery.present.map(|present| {
            let living = present.iter().filter(|child| child.state != ProcessState::Ended);
            living.map(|child| child.id).collect()
        });
        // The cgid daemon is known as such some moments after it was forked.
        for child in nursery.present.into_iter().flatten() {
            if child.role == ChildRole::Daemon {
                self.workers.remove(&child.id);
            }
        }
        let mut departures = Vec::new();
        let exits = &mut self.exits;
        let (bereft, parent_ended, adrift) = (self.bereft, self.parent_ended, self.adrift);
        let is_orphan = |descent: &Descent, at: Moment| {
            bereft >= Some(descent.parent) && parent_ended.is_some_and(|(_, ended)| ended < at)
        };
        self.workers.retain(|id, descent| {
            let gone = living.as_ref().is_some_and(|living| !living.contains(id));
            let at = stamped.get(id).copied().or_else(|| gone.then_some(nursery.at));
            if let Some(at) = at {
                let old = nursery.running.is_some_and(|running| *descent < running);
                let old = old || adrift == Some(descent.parent);
                let (orphaned, status) = (is_orphan(descent, at), Status::Awaited);
                let descent = *descent;
                let exit = Exit { at, descent, old, orphaned, ended_by_parent: false, status };
                exits.insert(*id, exit);
                departures.push(Departure { descent, at });
            }
            at.is_none()
        });
        departures
    }

    fn arrive(&mut self, nursery: &Nursery<'_>, first: bool, events: &mut Vec<Event>) {
        let (Some(present), Some(running)) = (nursery.present, nursery.running) else {
            return;
        };
        let mut started = 0;
        for child in present {
            // Its program may rename itself; the cgid daemon, which has the parent's program,
            // never has a slot.
            let Some(place) = nursery.placements.get(&child.id.pid) else {
                continue;
            };
            let known = self.workers.contains_key(&child.id);
            if !known && place.generation < running.generation && place.starting {
                // Up to 2.4.17 a slot keeps its last child's generation until a worker is ready.
                continue;
            }
            let descent = Descent { parent: running.parent, generation: place.generation };
            if child.state != ProcessState::Ended {
                self.workers.insert(child.id, descent);
                started += u32::from(!known);
            } else if !known && !self.exits.contains_key(&child.id) && !first {
                // It came and went since the last look, and is not reaped yet.
                let old = descent < running;
                let (at, orphaned, status) = (nursery.at, false, Status::Awaited);
                let exit = Exit { at, descent, old, orphaned, ended_by_parent: false, status };
                self.exits.insert(child.id, exit);
                started += 1;
            }
        }
        if started > 0 && self.counts_starts {
            events.push(Event::ChildrenStarted { count: started });
        }
        self.counts_starts |= started > 0;
    }

    /// Generations overlap from the first child of the younger to the last of the older; what was
    /// so before the first look is not counted.
    fn overlap(&mut self, at: Moment, first: bool, departures: &[Departure]) -> Option<Event> {
        let ended = departures.iter().filter(|left| self.is_older(left.descent));
        let alive = self.generations().len() > 1;
        let until = if alive { Some(at) } else { ended.map(|left| left.at).max() };
        let since = self.overlap_since.or_else(|| self.youngest_since(at));
        self.overlap_since = alive.then_some(at);
        let (until, since) = until.zip(since).filter(|_| !first)?;
        (until > since).then(|| Event::Overlapped { lasted: until.since(since) })
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

pub(super) fn is_starting(slot: &SlotRecord) -> bool {
    let mut statuses = slot.workers.iter().map(|(status, _)| *status);
    statuses.all(|status| status == WorkerStatus::Starting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::event::{DrainOutcome, ExitReason},
        track::fixture::{Story, after, process},
    };

    #[test]
    fn a_child_that_ends_is_told_why_once_that_is_decided() {
        let mut story = Story::of_a_running_httpd();
        story.exit(11, 2500, ExitStatus::Signal(11));
        let crash = Event::ChildCrashed { at: after(2500), signal: 11 };
        assert_eq!(story.look(2501), [Event::ChildExited { reason: ExitReason::Segv }, crash]);
        story.exit(12, 2600, ExitStatus::Code(0));
        assert_eq!(story.look(2601), [], "a stop may follow");
        assert_eq!(story.look(13_700), [Event::ChildExited { reason: ExitReason::Recycled }]);
        assert_eq!(story.tracker.assessment().children.map(|it| it.current), Some(0));
    }

    #[test]
    fn every_status_has_a_reason() {
        for (status, reason, crash) in [
            (ExitStatus::Signal(6), ExitReason::Abort, Some(6)),
            (ExitStatus::Signal(9), ExitReason::Killed, Some(9)),
            (ExitStatus::Signal(7), ExitReason::Signal, Some(7)),
            (ExitStatus::Signal(15), ExitReason::Signal, None),
            (ExitStatus::Code(15), ExitReason::Fatal, None),
        ] {
            let mut story = Story::of_a_running_httpd();
            story.exit(11, 2500, status);
            let mut events = story.look(2501);
            events.extend(story.look(4501));
            let mut expected = vec![Event::ChildExited { reason }];
            let at = after(2500);
            expected.extend(crash.map(|signal| Event::ChildCrashed { at, signal }));
            assert_eq!(events, expected);
        }
        let mut story = Story::of_a_running_httpd();
        story.children.pop();
        story.ended(process(12, 20), 2500, None);
        assert_eq!(story.look(2501), [Event::ChildExited { reason: ExitReason::Unknown }]);
    }

    #[test]
    fn what_leaves_with_its_parent_was_ended_by_it() {
        let mut story = Story::of_a_running_httpd();
        story.exit(11, 2500, ExitStatus::Code(0));
        story.trace(2510, TraceKind::PidFileRemoved);
        story.ended(process(1, 0), 2511, Some(ExitStatus::Code(0)));
        story.exit(12, 2512, ExitStatus::Code(0));
        story.parent = None;
        let events = story.look(2513);
        let terminated = Event::ChildExited { reason: ExitReason::Terminated };
        assert_eq!(events.iter().filter(|event| **event == terminated).count(), 2);
    }

    #[test]
    fn what_a_stop_or_an_operator_kills_has_not_crashed() {
        let mut story = Story::of_a_running_httpd();
        story.exit(11, 2500, ExitStatus::Signal(9));
        let mut events = story.look(2501);
        story.trace(3400, TraceKind::PidFileRemoved);
        story.ended(process(1, 0), 3401, Some(ExitStatus::Code(0)));
        story.parent = None;
        (story.orphans, story.children) = (vec![(12, 20)], Vec::new());
        events.extend(story.look(3402));
        story.orphans.clear();
        story.ended(process(12, 20), 30_000, Some(ExitStatus::Signal(9)));
        events.extend(story.look(30_001));
        events.extend(story.look(33_000));
        assert_eq!(story.tally.child_exits[&ExitReason::Terminated], 1);
        assert_eq!(story.tally.child_exits[&ExitReason::Killed], 1, "an orphan");
        assert!(!events.iter().any(|event| matches!(event, Event::ChildCrashed { .. })));
    }

    fn crashes(events: &[Event]) -> usize {
        events.iter().filter(|event| matches!(event, Event::ChildCrashed { .. })).count()
    }

    #[test]
    fn an_old_child_that_a_stop_kills_has_neither_crashed_nor_drained() {
        let mut story = Story::of_a_running_httpd();
        story.reads_configuration(3001, 3004);
        story.generation = 1;
        story.children.push((13, 3005, 1));
        story.look(3100);
        story.exit(12, 3200, ExitStatus::Code(0));
        story.look(3201);
        // SIGTERM at 5 s, and 9 s later SIGKILL for who is busy.
        story.exit(13, 5100, ExitStatus::Code(0));
        let mut events = story.look(5101);
        story.exit(11, 14_300, ExitStatus::Signal(9));
        events.extend(story.look(14_301));
        story.trace(14_350, TraceKind::PidFileRemoved);
        story.ended(process(1, 0), 14_351, Some(ExitStatus::Code(0)));
        story.parent = None;
        events.extend(story.look(14_352));
        events.extend(story.look(20_000));
        assert_eq!(crashes(&events), 0, "{:?}", story.tally.child_exits);
        assert_eq!(story.tally.child_exits[&ExitReason::Terminated], 2);
        assert_eq!(story.tally.drains[&DrainOutcome::Interrupted].count(), 1);
        assert_eq!(story.tally.drains[&DrainOutcome::Drained].count(), 0);
    }

    /// A restart that failed, of which a look saw the beginning or not, and how the children ended:
    /// one in order, the other by this status, before or after the configuration was opened.
    fn failed(seen: bool, last: (u64, ExitStatus)) -> BTreeMap<ExitReason, u64> {
        let mut story = Story::of_a_running_httpd();
        story.generation = i32::from(seen);
        story.exit(12, last.0.min(4990), ExitStatus::Code(0));
        if seen {
            story.look(4995);
        }
        let (at, status) = last;
        if at < 5000 {
            story.exit(11, at, status);
            if seen {
                story.look(4998);
            }
        }
        story.trace(5000, TraceKind::ConfigOpened);
        if at > 5000 {
            story.exit(11, at, status);
        }
        story.ended(process(1, 0), 5010, Some(ExitStatus::Code(1)));
        story.parent = None;
        let mut events = story.look(5020);
        events.extend(story.look(6100));
        events.extend(story.look(17_000));
        assert_eq!(crashes(&events), 0);
        assert_eq!(story.tally.failures.values().sum::<u64>(), 1);
        story.tally.child_exits.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn why_children_ended_in_a_restart_that_failed_does_not_depend_on_looks() {
        for seen in [false, true] {
            let left = ExitStatus::Code(0);
            let hard = [(ExitReason::Terminated, 2)];
            assert_eq!(failed(seen, (4996, left)), hard.into(), "{seen}");
            assert_eq!(failed(seen, (4996, ExitStatus::Signal(9))), hard.into(), "{seen}");
            let graceful = [(ExitReason::Drained, 2)];
            assert_eq!(failed(seen, (5005, left)), graceful.into(), "{seen}");
        }
    }

    #[test]
    fn the_ladder_of_a_hard_restart_without_a_scoreboard_crashes_nobody() {
        let mut story = Story::of_a_running_httpd();
        (story.scoreboard, story.generation) = (None, 0);
        for second in 3..12 {
            story.look(second * 1000);
        }
        story.exit(11, 12_500, ExitStatus::Signal(9));
        let mut events = story.look(12_501);
        story.exit(12, 12_502, ExitStatus::Signal(15));
        story.reads_configuration(12_520, 12_524);
        story.children = vec![(13, 12_530, 0), (14, 12_530, 0)];
        events.extend(story.look(12_550));
        events.extend(story.look(13_550));
        events.extend(story.look(25_000));
        assert_eq!(story.tally.restarts.values().sum::<u64>(), 1);
        assert_eq!(crashes(&events), 0, "{events:?}");
        assert_eq!(story.tally.child_exits[&ExitReason::Terminated], 2);
    }

    #[test]
    fn a_new_parents_children_do_not_make_those_of_the_old_one_current() {
        let mut story = Story::of_a_running_httpd();
        story.generation = 7;
        story.reads_configuration(2500, 2504);
        story.children = vec![(13, 2505, 7)];
        story.look(2600);
        story.ended(process(1, 0), 3000, Some(ExitStatus::Signal(9)));
        story.parent = None;
        story.children.clear();
        story.orphans = vec![(13, 2505)];
        story.look(3001);
        assert_eq!(story.tracker.assessment().orphans, Some(1));
        story.parent = Some(process(2, 4000));
        story.generation = 0;
        story.scoreboard = Some(4011);
        story.pid_file = 4010;
        story.children = vec![(21, 4020, 0)];
        story.look(4100);
        let assessment = story.tracker.assessment();
        let children = assessment.children.unwrap();
        assert_eq!((children.current, children.old), (1, 1));
        assert_eq!(assessment.generations, Some(2));
        assert_eq!(story.tally.restarts[&RestartType::Full], 1);
    }

    #[test]
    fn only_children_that_were_not_there_before_are_starts() {
        let mut story = Story::of_a_running_httpd();
        assert_eq!(story.tally.child_starts, 0, "they were there already");
        story.children.push((13, 2100, 0));
        assert_eq!(story.look(2200), [Event::ChildrenStarted { count: 1 }]);
    }
}
