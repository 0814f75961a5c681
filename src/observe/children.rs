//! The children of one server's parents: found by number, held by pidfd, followed to their end.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    kernel::exit_status,
    moments::Moments,
    process_table::{ProcessTable, Row},
    waiting::Helpers,
};
use crate::model::{
    process::{self, Child, ChildRole, ExitStatus, Pid, ProcessId, ProcessState},
    snapshot::{Part, TraceKind},
    source::Why,
    time::Uptime,
};

/// A process this young may still become another program: a piped logger is forked before it is
/// started.
const MAY_BECOME_ANOTHER: u64 = 1_000_000;

/// A parent that nobody reaps is given up after this time: why it ended will not be known.
const REAPED_WITHIN: u64 = 3_000_000;

/// So many children are asked whether they are well: one that is proves that a restart let it live.
const MOST_EXAMINED: usize = 8;

/// Of so many old children the state is read in each look: 25 us each.
const MOST_OLD: usize = 256;

/// Every process of one server that is, or was, a child of one of its parents.
#[derive(Debug, Default)]
pub struct Children {
    known: BTreeMap<Pid, Child>,
    /// Nothing but the process table tells workers from the cgid daemon.
    tells_daemons: bool,
    /// Every child is to be read again, also one that is held.
    roles_unknown: bool,
    /// Ended, and it is not yet known how.
    ended: BTreeMap<ProcessId, Uptime>,
    /// Seen stopped, or frozen under a deadly signal.
    halted: BTreeSet<ProcessId>,
    /// Whether these can make progress is to be seen in each look.
    old: Vec<ProcessId>,
    helpers: Helpers,
}

/// What became of the processes since the last look.
#[derive(Debug, Default)]
pub struct Fates {
    /// Former children that live on without the parent.
    pub orphans: Vec<Child>,
    /// How processes ended.
    pub statuses: Vec<(ProcessId, Option<ExitStatus>)>,
}

impl Children {
    /// Whether the cgid daemon is to be told from workers: where slots do, it costs too much.
    pub fn tell_daemons(&mut self, tells: bool) {
        if tells && !self.tells_daemons {
            // They were taken for workers.
            self.roles_unknown = true;
        }
        self.tells_daemons = tells;
    }

    /// Whether these can make progress is asked in the next look; of others only whether they live.
    pub fn attend_to(&mut self, old: impl Iterator<Item = ProcessId>) {
        self.old = old.take(MOST_OLD).collect();
    }

    /// Reads the parent's rows.
    pub fn read_parent(
        &mut self,
        server: usize,
        parent: ProcessId,
        now: Uptime,
        table: &ProcessTable,
        moments: &mut Moments,
    ) -> Part<process::ProcessTable> {
        match self.try_read(server, parent, now, table, moments) {
            Ok(seen) => Part::Seen(seen),
            Err(why) => Part::Unseen(why),
        }
    }

    /// Takes note of an end that the kernel reported.
    pub fn notice(&mut self, kind: TraceKind, now: Uptime) {
        if let TraceKind::Exited(id) = kind {
            self.ended.insert(id, now);
            if let Some(child) = self.known.get_mut(&id.pid).filter(|child| child.id == id) {
                child.state = ProcessState::Ended;
            }
        }
    }

    /// Knows a child that an earlier run knew: whether it still lives, the next look tells.
    pub fn take_up(
        &mut self,
        server: usize,
        id: ProcessId,
        now: Uptime,
        table: &ProcessTable,
        moments: &mut Moments,
    ) {
        let row = table.row(id.pid);
        let is_hidden = row == Err(Why::Permission);
        let row = row.ok().filter(|row| row.id == id);
        let state = row.map(|row| row.state).filter(|state| *state != ProcessState::Ended);
        if let Some(state) = state.or(is_hidden.then_some(ProcessState::Alive)) {
            moments.hold(server, id, |pid| table.row(pid).ok().map(|row| row.id));
            self.known.insert(id.pid, Child { id, role: ChildRole::Httpd, state });
        } else {
            self.mourn(id, now);
        }
    }

    /// A process ended while nobody held it: how, nobody will tell.
    pub fn mourn(&mut self, id: ProcessId, now: Uptime) {
        self.ended.insert(id, now);
    }

    /// Notices who is stopped or frozen at this very moment: it may go on before the next look.
    pub fn glance(&mut self, table: &ProcessTable) {
        let httpds = self.known.values().filter(|child| child.role == ChildRole::Httpd);
        let living = httpds.filter(|child| child.state != ProcessState::Ended);
        let halted: Vec<ProcessId> =
            oldest(living).into_iter().filter(|id| is_halted(*id, table)).collect();
        self.halted.retain(|id| self.known.get(&id.pid).is_some_and(|child| child.id == *id));
        self.halted.extend(halted);
    }

    /// Adds what tells a restart's type where no scoreboard does; `recent`: one may be over.
    pub fn examine(
        &mut self,
        seen: &mut process::ProcessTable,
        recent: bool,
        table: &ProcessTable,
    ) {
        self.glance(table);
        seen.halted = self.halted.iter().copied().collect();
        let oldest = oldest(living(seen));
        seen.threaded = oldest.first().is_some_and(|id| table.is_threaded(id.pid) == Ok(true));
        if recent {
            let runs = |id: &ProcessId| !self.halted.contains(id) && is_well(*id, table);
            seen.well = oldest.into_iter().filter(runs).collect();
        }
    }

    /// Looks after those that are no children of the living `parent`, whose rows are `seen`.
    pub fn fates(
        &mut self,
        parent: Option<ProcessId>,
        seen: Option<&process::ProcessTable>,
        now: Uptime,
        table: &ProcessTable,
        moments: &mut Moments,
    ) -> Fates {
        let mut fates = Fates::default();
        let known = &self.known;
        self.ended.retain(|id, since| {
            let child = known.get(&id.pid).is_some_and(|child| child.id == *id);
            let patience = if child { u64::MAX } else { REAPED_WITHIN };
            let waited = now.as_micros().saturating_sub(since.as_micros());
            let status = status(*id, waited < patience, table, moments);
            if let Some(status) = status {
                fates.statuses.push((*id, status));
                moments.release(id);
            }
            status.is_none()
        });
        let ended = &self.ended;
        self.known.retain(|pid, child| {
            if child.state == ProcessState::Ended {
                let awaited = ended.contains_key(&child.id);
                let told = fates.statuses.iter().any(|(id, _)| *id == child.id);
                if !awaited && !told && !moments.holds(&child.id) {
                    fates.statuses.push((child.id, None));
                }
                return awaited;
            }
            if seen.is_some_and(|seen| seen.children.contains_key(pid)) {
                return true;
            }
            let row = table.row(*pid);
            if row.as_ref().is_ok_and(|row| row.id == child.id) || row == Err(Why::Permission) {
                let row = row.ok();
                let state = row.as_ref().map_or(child.state, |row| row.state);
                if row.is_some_and(|row| Some(row.parent) != parent.map(|it| it.pid.as_raw())) {
                    fates.orphans.push(Child { state, ..*child });
                }
                return true;
            }
            // Gone. If it was held its end will be reported, and its status with it.
            let held = moments.holds(&child.id);
            if !held {
                fates.statuses.push((child.id, None));
            }
            held
        });
        fates
    }

    fn try_read(
        &mut self,
        server: usize,
        parent: ProcessId,
        now: Uptime,
        table: &ProcessTable,
        moments: &mut Moments,
    ) -> Result<process::ProcessTable, Why> {
        let own = table.row(parent.pid)?;
        if own.id != parent {
            return Err(Why::Missing);
        }
        let catches_crashes = table.catches_crashes(parent.pid)?;
        let mut children = BTreeMap::new();
        for pid in table.children(parent.pid)? {
            if let Some(child) = self.child(server, pid, &own, now, table, moments) {
                children.insert(pid, child);
            }
        }
        self.roles_unknown = false;
        // The kernel's list may miss children while others leave it.
        for (pid, child) in &self.known {
            if !children.contains_key(pid)
                && child.state != ProcessState::Ended
                && table
                    .row(*pid)
                    .is_ok_and(|row| row.id == child.id && row.parent == parent.pid.as_raw())
            {
                children.insert(*pid, *child);
            }
        }
        for id in &self.old {
            let row = table.row(id.pid).ok().filter(|row| row.id == *id);
            // An end is reported with its moment.
            let state = row.map(|row| row.state).filter(|state| *state != ProcessState::Ended);
            if let (Some(child), Some(state)) = (children.get_mut(&id.pid), state)
                && child.id == *id
                && child.state != ProcessState::Ended
            {
                child.state = state;
            }
        }
        let waits_for = (!catches_crashes).then_some(parent.pid);
        let waiting = self.helpers.waiting(waits_for, children.values(), now, table);
        Ok(process::ProcessTable {
            state: own.state,
            catches_crashes,
            children,
            well: Vec::new(),
            halted: Vec::new(),
            threaded: false,
            waiting,
        })
    }

    /// A held child needs no reading: its end would have been reported.
    fn child(
        &mut self,
        server: usize,
        pid: Pid,
        parent: &Row,
        now: Uptime,
        table: &ProcessTable,
        moments: &mut Moments,
    ) -> Option<Child> {
        if let Some(child) = self.known.get(&pid)
            && moments.holds(&child.id)
            && child.state != ProcessState::Ended
            && !is_young(child.id, now)
            && !self.roles_unknown
        {
            return Some(*child);
        }
        let row = table.row(pid).ok()?;
        let role = if row.name != parent.name {
            ChildRole::Helper
        } else if self.tells_daemons && table.ignores_children(pid) == Ok(true) {
            ChildRole::Daemon
        } else {
            ChildRole::Httpd
        };
        let child = Child { id: row.id, role, state: row.state };
        // A zombie too: it came and went since the last look, and its status may be asked.
        if !self.ended.contains_key(&row.id) {
            moments.hold(server, row.id, |pid| table.row(pid).ok().map(|row| row.id));
        }
        self.known.insert(pid, child);
        Some(child)
    }
}

fn living(seen: &process::ProcessTable) -> impl Iterator<Item = &Child> {
    let httpds = seen.children.values().filter(|child| child.role == ChildRole::Httpd);
    httpds.filter(|child| child.state != ProcessState::Ended)
}

/// The oldest of them, as many as are examined.
fn oldest<'a>(children: impl Iterator<Item = &'a Child>) -> Vec<ProcessId> {
    let mut oldest: Vec<ProcessId> = children.map(|child| child.id).collect();
    oldest.sort_by_key(|id| (id.started, id.pid));
    oldest.truncate(MOST_EXAMINED);
    oldest
}

/// It runs, and nobody has told it to end.
fn is_well(id: ProcessId, table: &ProcessTable) -> bool {
    let runs = |row: Row| row.id == id && row.state == ProcessState::Alive;
    table.is_doomed(id.pid) == Ok(false) && table.row(id.pid).is_ok_and(runs)
}

fn is_halted(id: ProcessId, table: &ProcessTable) -> bool {
    let Ok(row) = table.row(id.pid) else { return false };
    match row.state {
        _ if row.id != id => false,
        ProcessState::Stopped => true,
        ProcessState::Uninterruptible => table.is_doomed(id.pid) == Ok(true),
        ProcessState::Alive | ProcessState::Ended => false,
    }
}

fn is_young(id: ProcessId, now: Uptime) -> bool {
    now.as_micros().saturating_sub(id.started.as_micros()) < MAY_BECOME_ANOTHER
}

/// How it ended, if that is known; `Some(None)` if it never will be.
#[expect(clippy::option_option, reason = "not known yet, known never to be known, known")]
fn status(
    id: ProcessId,
    patient: bool,
    table: &ProcessTable,
    moments: &Moments,
) -> Option<Option<ExitStatus>> {
    let Some(pidfd) = moments.pidfd(&id) else {
        return Some(None);
    };
    if let Some(status) = exit_status(pidfd) {
        return Some(Some(status));
    }
    if patient && table.row(id.pid).is_ok_and(|row| row.id == id) {
        return None;
    }
    // It may have been reaped between the two questions.
    Some(exit_status(pidfd))
}
