//! What became of the children that a restart found: tells its type where no scoreboard does.
//!
//! A hard restart sends every child away and waits for it, before it reads its configuration. A
//! graceful one waits for none before it has written its pid file. So a child that lives on, or
//! has ended and is not reaped, once the old configuration was cleared, outlived a graceful restart;
//! if all of them were reaped just before, it was a hard one. Neither can be forged by a child.
//!
//! A hard restart takes a stopped child for dead and lets a frozen one be: only a child that runs,
//! for which no deadly signal waits, and that was not seen stopped, bears witness. And whoever may
//! signal prefork's children makes them end as a hard restart does: there it is never proven.

use std::{collections::BTreeMap, time::Duration};

use super::look::Look;
use crate::model::{
    event::RestartType,
    process::{Child, ChildRole, ExitStatus, ProcessId, ProcessState, ProcessTable},
    snapshot::TraceKind,
    time::Moment,
};

/// From the last child's reaping to the opening of the configuration lies the clearing of the old
/// one, in which cgid's daemon is ended (50 ms were seen).
const SWEPT_WITHIN: Duration = Duration::from_millis(250);
/// Between its end and that lies one pause of the parent, 16 ms. One that had finished before the
/// signal may have waited for its reaping for a second.
const DISMISSED_WITHIN: Duration = Duration::from_millis(500);
/// AH00045 to AH00047: until the parent gives up a child.
const LADDER_LASTS: Duration = Duration::from_secs(12);
/// A single child may have ended by itself just before the signal.
const FEWEST_SWEPT: usize = 2;
/// A parent writes its first pid file within this time. What is younger was written in a restart.
const STARTED_WITHIN: Duration = Duration::from_secs(2);
/// Start times are exact to a clock tick (10 ms), and traces come as late as they are read.
const BORN_BEFORE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Member {
    /// A look that began after it was seen found the parent running normally. One that was seen
    /// once may be the first child after a restart, of which that look saw nothing else.
    known: bool,
    /// When it ended.
    exited: Option<Moment>,
    /// When it was reaped, before the pid file was written.
    reaped: Option<Moment>,
    /// It ended in order, as a hard restart lets a child.
    in_order: bool,
    /// It was seen stopped, or frozen under a deadly signal: a hard restart may let it live.
    halted: bool,
}

/// Whose word makes a child end in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Obeys {
    /// A signal of whoever may send one: prefork.
    #[default]
    AnySignal,
    /// Nobody's but its parent's, over a pipe: event and worker.
    ItsParent,
}

#[expect(clippy::struct_excessive_bools, reason = "what was seen, each by itself")]
/// The children that lived when the parent last ran normally.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    members: BTreeMap<ProcessId, Member>,
    /// The last opening of the configuration.
    opened: Option<Moment>,
    /// After that, one had ended and was not reaped.
    lingered: bool,
    /// While the parent had cleared its configuration, one was not reaped.
    outlived_clearing: bool,
    /// The same of the opening that the last writing of the pid file followed.
    outlived: bool,
    /// Whether all were reaped when the pid file was first written since.
    swept: Option<bool>,
    /// What makes them end in order.
    obeys: Obeys,
    /// When a child left and none has been born since: the parent forks another within a second or
    /// two, unless there are too many, or it is in the ladder of a hard restart, for up to 10 s.
    dwindles: Option<Moment>,
    /// A child of the running generation is among them. Before one was seen, those that were may
    /// be the last of an older generation, and the others unseen.
    complete: bool,
}

impl Family {
    pub(super) const fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            opened: None,
            lingered: false,
            outlived_clearing: false,
            outlived: false,
            swept: None,
            obeys: Obeys::AnySignal,
            dwindles: None,
            complete: false,
        }
    }

    /// Folds what happened since the last look, in its order, and who is there now.
    /// `cleared`: the parent's signal mask, read before its children were, tells that it has cleared
    /// its configuration and not yet read the new one.
    pub(super) fn observe(&mut self, look: &Look<'_>, cleared: bool) {
        if look.scoreboard.is_some() {
            *self = Self::new();
            return;
        }
        let halted = look.table.into_iter().flat_map(|table| &table.halted);
        for id in halted {
            if let Some(member) = self.members.get_mut(id) {
                member.halted = true;
            }
        }
        for trace in look.traces {
            match trace.kind {
                TraceKind::ConfigOpened => {
                    // A configtest opens it too: what ended before this tells nothing.
                    self.opened = Some(trace.at);
                    self.lingered = false;
                }
                TraceKind::PidFileWritten => {
                    let swept = self.is_swept(trace.at);
                    self.swept.get_or_insert(swept);
                    self.outlived = self.lingered || self.outlived_clearing;
                    self.outlived_clearing = false;
                }
                TraceKind::Reaped(id) => {
                    let member = self.members.get_mut(&id).filter(|_| self.swept.is_none());
                    if let Some(member) = member {
                        member.reaped = Some(trace.at);
                    }
                }
                TraceKind::Lingers(id) => self.lingered |= self.is_unreaped(&id),
                TraceKind::Exited(id) => {
                    if let Some(member) = self.members.get_mut(&id) {
                        member.exited = Some(trace.at);
                        self.dwindles.get_or_insert(trace.at);
                    }
                }
                TraceKind::PidFileRemoved => {}
            }
        }
        for (id, status) in look.statuses {
            if let Some(member) = self.members.get_mut(id) {
                member.in_order = *status == Some(ExitStatus::Code(0));
            }
        }
        let Some(table) = look.table else { return };
        let ended = table.children.values().filter(|child| child.state == ProcessState::Ended);
        let lingers = ended.map(|child| child.id).any(|id| self.is_unreaped(&id));
        let outlives = lingers || table.well.iter().any(|id| self.is_unreaped(id));
        self.lingered |= lingers && self.opened.is_some();
        // The mask is the same for some microseconds after the pid file was written.
        self.outlived_clearing |= outlives && cleared && self.swept.is_none();
    }

    /// The type of `count` restarts that are over at this look.
    pub(super) fn kinds(&self, count: usize, look: &Look<'_>) -> Vec<RestartType> {
        let old = |id: &ProcessId| {
            self.members.get(id).is_some_and(|member| member.known && !member.halted)
        };
        let well = look.table.is_some_and(|table| table.well.iter().any(old));
        let outlived = if self.swept.is_some() {
            self.outlived
        } else {
            self.lingered || self.outlived_clearing
        };
        let reaped = self.members.values().any(|member| member.reaped.is_some());
        if (well || outlived) && !reaped {
            // None of them was hard: that would have ended and reaped it.
            return vec![RestartType::Graceful; count];
        }
        // Some were reaped first, and some lived on: perhaps stopped ones, in a hard restart.
        let mut kinds = vec![RestartType::Unknown; count];
        // Not if they crashed or were killed: then it was not the parent that ended them.
        let swept = self.swept == Some(true) && self.members.values().all(|it| it.in_order);
        let swept = swept && self.obeys == Obeys::ItsParent && !self.has_survivor(look);
        if let Some(first) = kinds.first_mut().filter(|_| swept && !well) {
            *first = RestartType::Hard;
        }
        kinds
    }

    /// When the parent sent the first child away, if it was a hard restart: earlier looks saw no
    /// restart in that.
    pub(super) fn dismissed(&self) -> Option<Moment> {
        self.members.values().filter_map(|member| member.exited).min()
    }

    /// A child had left some time before the configuration was opened, which a graceful restart does
    /// at once: a hard one may have begun then.
    pub(super) fn has_dwindled(&self) -> bool {
        let Some(opened) = self.opened else { return true };
        let Some(since) = self.dwindles else { return false };
        let before = opened.since(since);
        before > SWEPT_WITHIN && before < LADDER_LASTS
    }

    /// The parent runs normally, with these children.
    pub(super) fn settle(&mut self, look: &Look<'_>) {
        (self.opened, self.swept) = (None, None);
        (self.lingered, self.outlived, self.outlived_clearing) = (false, false, false);
        let Some(table) = look.table else {
            // Who is there may have changed altogether.
            self.members.clear();
            return;
        };
        // One that was just reaped may be the first that a hard restart has sent away.
        self.members.retain(|id, member| match member.reaped {
            Some(reaped) => look.at.since(reaped) < SWEPT_WITHIN,
            None => table.children.get(&id.pid).is_some_and(|child| is_worker(child, id)),
        });
        for member in self.members.values_mut() {
            member.known = true;
        }
        if living(table).next().is_some() {
            self.obeys = if table.threaded { Obeys::ItsParent } else { Obeys::AnySignal };
        }
        for id in living(table) {
            self.members.entry(id).or_insert_with(|| {
                self.dwindles = None;
                Member::default()
            });
        }
        self.complete = is_complete(look, table);
    }

    /// The restarts that happened are told apart, and a new story begins.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::new();
    }

    fn is_unreaped(&self, id: &ProcessId) -> bool {
        let unreaped = |member: &Member| member.known && !member.halted && member.reaped.is_none();
        self.members.get(id).is_some_and(unreaped)
    }

    /// A child that is there was so before the configuration was opened: none is in a hard restart,
    /// though no look may have seen it before.
    fn has_survivor(&self, look: &Look<'_>) -> bool {
        let (Some(table), Some(opened)) = (look.table, self.opened) else { return true };
        let httpds = table.children.values().filter(|child| child.role == ChildRole::Httpd);
        let mut births = httpds.map(|child| look.at.at_uptime(child.id.started));
        births.any(|born| born.after(BORN_BEFORE) < opened)
    }

    fn is_swept(&self, written: Moment) -> bool {
        let cleared = self.opened.unwrap_or(written);
        let swept = |member: &Member| {
            let (exited, reaped) = (member.exited, member.reaped);
            reaped.is_some_and(|reaped| cleared.since(reaped) < SWEPT_WITHIN)
                && exited.is_some_and(|exited| cleared.since(exited) < DISMISSED_WITHIN)
        };
        let enough = self.complete && self.members.len() >= FEWEST_SWEPT;
        enough && self.members.values().all(swept)
    }
}

/// A child of the running generation was born after the pid file was last written; the first
/// generation has no older one beside it.
fn is_complete(look: &Look<'_>, table: &ProcessTable) -> bool {
    let Some(stamp) = look.pid_file else { return false };
    let written = look.at.at_wall(stamp.written);
    let born = |id: ProcessId| look.at.at_uptime(id.started);
    let first = written.since(look.at.at_uptime(look.parent.started)) < STARTED_WITHIN;
    // A start time is the last clock tick's: whoever seems to be as old may be older.
    first || living(table).any(|id| born(id) >= written)
}

/// The cgid daemon may have been taken for a worker at first.
fn is_worker(child: &Child, id: &ProcessId) -> bool {
    child.id == *id && child.role == ChildRole::Httpd
}

/// The children that serve, or did.
pub(super) fn living(table: &ProcessTable) -> impl Iterator<Item = ProcessId> {
    let httpds = table.children.values().filter(|child| child.role == ChildRole::Httpd);
    httpds.filter(|child| child.state != ProcessState::Ended).map(|child| child.id)
}
