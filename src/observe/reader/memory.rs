//! How much memory processes use: `/proc/PID/smaps_rollup`, within a budget.
//!
//! The kernel walks all that a process has mapped, and holds its memory map meanwhile, so that
//! httpd waits where it maps or unmaps. A child of stock httpd with its hundred mappings takes
//! 0.14 ms, a resident gigabyte 12 ms. So whoever asks names the processes in the order in which
//! he wants them, and is given as many as the budget of this second allows. It is kept here, where
//! it is spent: for all servers together, and whatever the other side asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::super::process_table::{ProcessTable, Row, why};
use crate::{
    clock,
    decode::process_memory::{Counted, smaps_rollup, status},
    model::{process::ProcessId, resources::Rollup, source::Why, time::Moment},
};

/// One part in so many of a core is for walks: 2.5 ms a second.
const INCOME: u32 = 400;
/// Likewise of looks while nothing happens: 2 ms a second. The rest is saved.
const CALM: u32 = 500;
/// What is saved for a restart: memory is then used fast, and its peak is wanted.
const MOST_SAVED: Duration = Duration::from_millis(40);
/// A restart leaves as much to the other servers.
const LEFT_TO_OTHERS: Duration = Duration::from_millis(2);
/// A server that is new is given what it would have earned in this time.
const FIRST: Duration = Duration::from_secs(5);
/// Who has not asked for longer has no share.
const SILENT: Duration = Duration::from_secs(10);
/// Parents that have a share.
const MOST_PARENTS: usize = 32;
/// What is looked at of one request.
const MOST_PROCESSES: usize = 1000;
/// What has more resident or in swap is never walked: this takes 4 ms already.
const LARGEST_WALK: u64 = 256 << 20;
/// Nor what has more page tables. Of memory that was only read they are all that there is, and a
/// gigabyte of it has 2 MiB, through which a walk takes 7 ms.
const LARGEST_TABLES: u64 = 2 << 20;
/// Who took longer is not walked again.
const LONGEST_WALK: Duration = Duration::from_millis(10);
/// Processes that are remembered for this.
const MOST_DEAR: usize = 1000;

/// How much of the budget a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pace {
    /// What this second brings.
    Calm,
    /// What was saved too: two generations are there.
    Overlap,
}

/// What walks may cost.
#[derive(Default)]
pub(super) struct Walks {
    budget: Budget,
    /// Those whose walk took too long.
    dear: BTreeSet<ProcessId>,
}

/// Processor time that is still to be had; counted in microseconds.
#[derive(Default)]
pub(super) struct Budget {
    saved: i64,
    counted: Option<Moment>,
    parents: BTreeMap<ProcessId, Account>,
}

/// What is known of one parent's share.
struct Account {
    /// When it was last asked about.
    asked: Moment,
    /// What its walks took beyond what they were granted: it is paid of its own share.
    debt: i64,
}

/// Who belongs to this parent's server, so that something may be told of it.
pub(super) struct Kinship {
    parent: ProcessId,
    /// The name of the parent's executable file; read when an orphan is asked for.
    program: Option<Result<OsString, Why>>,
}

impl Walks {
    /// The memory of the first of those that still live, as many as there is time for; an error if
    /// none of them may be read. Who is neither the parent nor one of its children, nor an orphan
    /// that runs the parent's program, is missing.
    pub(super) fn read(
        &mut self,
        table: &ProcessTable,
        parent: ProcessId,
        processes: &[ProcessId],
        pace: Pace,
    ) -> Result<Vec<(ProcessId, Rollup)>, Why> {
        let mut budget = std::mem::take(&mut self.budget);
        let read = budget
            .round(parent, processes, pace, |kinship, id| self.one(table, kinship, id).map(Some));
        self.budget = budget;
        read
    }

    fn one(
        &mut self,
        table: &ProcessTable,
        kinship: &mut Kinship,
        id: ProcessId,
    ) -> Result<Rollup, Why> {
        let own = counted(table, id)?;
        let memory = if own.is_walkable() && !self.dear.contains(&id) {
            self.walk(table, id)?
        } else {
            let parent = kinship.parent;
            let inherited = if id == parent { None } else { Some(counted(table, parent)?) };
            estimate(own, inherited)
        };
        // Afterwards: a number that is still the same process's was so all the time.
        let row = table.row(id.pid)?;
        if row.id == id && kinship.includes(table, &row) { Ok(memory) } else { Err(Why::Missing) }
    }

    fn walk(&mut self, table: &ProcessTable, id: ProcessId) -> Result<Rollup, Why> {
        let begun = clock::work_of_this_thread();
        let text = fs::read(table.path(id.pid, "smaps_rollup")).map_err(|error| why(&error))?;
        if clock::work_of_this_thread().saturating_sub(begun) > LONGEST_WALK {
            if self.dear.len() >= MOST_DEAR {
                self.dear.clear();
            }
            self.dear.insert(id);
        }
        // Of one that is just ending there is nothing to be read.
        if text.is_empty() {
            return Err(Why::Missing);
        }
        smaps_rollup(&text).ok_or(Why::Invalid)
    }
}

impl Kinship {
    pub(super) const fn of(parent: ProcessId) -> Self {
        Self { parent, program: None }
    }

    /// It is the parent, or one of its children, or an orphan that runs the parent's program.
    pub(super) fn includes(&mut self, table: &ProcessTable, row: &Row) -> bool {
        if row.id == self.parent || row.parent == self.parent.pid.as_raw() {
            return true;
        }
        let parent = self.parent;
        let known = self.program.get_or_insert_with(|| program(table, parent));
        known.is_ok() && program(table, row.id) == *known
    }
}

/// The name of its executable file; an upgrade deletes the file, which changes no name.
fn program(table: &ProcessTable, id: ProcessId) -> Result<OsString, Why> {
    let path = fs::read_link(table.path(id.pid, "exe")).map_err(|error| why(&error))?;
    let name = path.file_name().ok_or(Why::Invalid)?.as_bytes();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    Ok(OsString::from_vec(name.to_vec()))
}

impl Counted {
    /// A walk of it takes some milliseconds at most.
    fn is_walkable(&self) -> bool {
        self.resident.saturating_add(self.swap) <= LARGEST_WALK
            && self.page_tables <= LARGEST_TABLES
    }
}

fn counted(table: &ProcessTable, id: ProcessId) -> Result<Counted, Why> {
    let text = fs::read(table.path(id.pid, "status")).map_err(|error| why(&error))?;
    status(&text).ok_or(Why::Missing)
}

/// The memory of one that is too large to be walked, from what the kernel counts anyway. Of a child
/// all that it has more than its parent counts as its own; what it has written of the parent's
/// cannot be told from what it shares. All that is shared counts as the parent's.
fn estimate(it: Counted, inherited: Option<Counted>) -> Rollup {
    let Counted { anonymous, shared_memory, swap, .. } = it;
    let private = anonymous.saturating_sub(inherited.map_or(0, |parent| parent.anonymous));
    let shared = if inherited.is_none() { shared_memory } else { 0 };
    Rollup { pss: private.saturating_add(shared), private, swap, anonymous }
}

impl Budget {
    /// Asks of the first of these processes, as many as there is time for; an error if none of them
    /// tells. `one` gives `None` where there is no room for more.
    pub(super) fn round<T>(
        &mut self,
        parent: ProcessId,
        processes: &[ProcessId],
        pace: Pace,
        mut one: impl FnMut(&mut Kinship, ProcessId) -> Result<Option<T>, Why>,
    ) -> Result<Vec<(ProcessId, T)>, Why> {
        let granted = self.grant(parent, clock::now(), pace);
        let mut kinship = Kinship::of(parent);
        let begun = clock::work_of_this_thread();
        let mut spent = Duration::ZERO;
        let mut refused = None;
        let mut read = Vec::new();
        for id in processes.iter().take(MOST_PROCESSES) {
            if spent >= granted {
                break;
            }
            match one(&mut kinship, *id) {
                Ok(Some(told)) => read.push((*id, told)),
                Ok(None) => break,
                // Of those that are gone nothing is said while others are refused.
                Err(why) if refused.is_none_or(|earlier| earlier == Why::Missing) => {
                    refused = Some(why);
                }
                Err(_) => {}
            }
            spent = clock::work_of_this_thread().saturating_sub(begun);
        }
        self.spend(parent, granted, spent);
        match refused {
            Some(why) if read.is_empty() => Err(why),
            _ => Ok(read),
        }
    }

    /// How long may be walked for this parent now.
    pub(super) fn grant(&mut self, parent: ProcessId, at: Moment, pace: Pace) -> Duration {
        let most = micros(MOST_SAVED);
        let earned = self.counted.map_or(most, |counted| micros(at.since(counted) / INCOME));
        self.saved = self.saved.saturating_add(earned).min(most);
        self.counted = Some(at);
        // Who does not ask does not get rid of its debt.
        self.parents.retain(|_, account| account.debt > 0 || at.since(account.asked) < SILENT);
        if self.parents.len() >= MOST_PARENTS && !self.parents.contains_key(&parent) {
            self.parents.clear();
        }
        let earlier = self.parents.get(&parent);
        let since = earlier.map_or(FIRST, |account| at.since(account.asked));
        let debt = earlier.map_or(0, |account| account.debt);
        let others = self
            .parents
            .iter()
            .filter(|(other, account)| **other != parent && at.since(account.asked) < SILENT);
        let sharers = u32::try_from(others.count()).unwrap_or(u32::MAX).saturating_add(1);
        let share = micros(since / CALM / sharers);
        let wanted = match pace {
            Pace::Calm => share,
            Pace::Overlap => share.max(self.saved.saturating_sub(micros(LEFT_TO_OTHERS))),
        };
        let wanted = wanted.min(self.saved);
        let paid = wanted.min(debt);
        self.saved = self.saved.saturating_sub(paid);
        self.parents.insert(parent, Account { asked: at, debt: debt.saturating_sub(paid) });
        Duration::from_micros(u64::try_from(wanted.saturating_sub(paid)).unwrap_or(0))
    }

    pub(super) fn spend(&mut self, parent: ProcessId, granted: Duration, spent: Duration) {
        self.saved = self.saved.saturating_sub(micros(spent.min(granted)));
        if let Some(account) = self.parents.get_mut(&parent) {
            let beyond = micros(spent.saturating_sub(granted));
            account.debt = account.debt.saturating_add(beyond);
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        process::Pid,
        time::{Timestamp, Uptime},
    };

    fn parent(pid: i32) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(1) }
    }

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn at(seconds: u64) -> Moment {
        let begin = Moment { uptime: Uptime::from_micros(1), wall: Timestamp::from_micros(1) };
        begin.after(Duration::from_secs(seconds))
    }

    /// A grant that is spent whole.
    fn spend(budget: &mut Budget, who: i32, seconds: u64, pace: Pace) -> Duration {
        let granted = budget.grant(parent(who), at(seconds), pace);
        budget.spend(parent(who), granted, granted);
        granted
    }

    #[test]
    fn a_calm_server_spends_what_each_second_brings() {
        let mut budget = Budget::default();
        assert_eq!(spend(&mut budget, 1, 0, Pace::Calm), millis(10), "the first picture");
        for second in 1..100 {
            assert_eq!(spend(&mut budget, 1, second, Pace::Calm), millis(2));
        }
        assert_eq!(spend(&mut budget, 1, 100, Pace::Overlap), millis(38), "was saved meanwhile");
        assert_eq!(spend(&mut budget, 1, 100, Pace::Overlap), Duration::ZERO);
        assert_eq!(spend(&mut budget, 1, 101, Pace::Overlap), Duration::from_micros(2500));
    }

    #[test]
    fn servers_share_it_and_one_that_restarts_leaves_the_others_theirs() {
        let mut budget = Budget::default();
        let mut rest = Duration::ZERO;
        for second in 0..100 {
            spend(&mut budget, 1, second, Pace::Overlap);
            rest = spend(&mut budget, 2, second, Pace::Calm);
        }
        assert_eq!(rest, millis(1));
        assert_eq!(spend(&mut budget, 2, 120, Pace::Calm), millis(10), "the other has gone");
    }

    #[test]
    fn a_walk_that_took_more_is_paid_off() {
        let mut budget = Budget::default();
        let granted = budget.grant(parent(1), at(0), Pace::Calm);
        budget.spend(parent(1), granted, millis(20));
        assert_eq!(granted, millis(10));
        for second in 1..=5 {
            assert_eq!(spend(&mut budget, 1, second, Pace::Calm), Duration::ZERO, "{second}");
        }
        assert_eq!(spend(&mut budget, 1, 6, Pace::Calm), millis(2));
    }

    #[test]
    fn only_the_server_whose_walk_took_long_pays_for_it() {
        let mut budget = Budget::default();
        spend(&mut budget, 2, 0, Pace::Calm);
        let granted = budget.grant(parent(1), at(0), Pace::Calm);
        budget.spend(parent(1), granted, millis(720));
        for second in 1..100 {
            assert_eq!(spend(&mut budget, 1, second, Pace::Calm), Duration::ZERO, "{second}");
            assert_eq!(spend(&mut budget, 2, second, Pace::Calm), millis(1), "{second}");
        }
        spend(&mut budget, 2, 200, Pace::Calm);
        let after = budget.grant(parent(1), at(201), Pace::Overlap);
        assert_eq!(after, Duration::ZERO, "silence pays nothing off");
    }

    #[test]
    fn no_number_of_parents_makes_the_budget_larger() {
        let mut budget = Budget::default();
        let spent: Duration = (1..1000).map(|who| spend(&mut budget, who, 0, Pace::Overlap)).sum();
        assert_eq!(spent, MOST_SAVED);
    }

    #[test]
    fn what_a_large_child_has_more_than_its_parent_is_its_own() {
        let parent = Counted { anonymous: 300, shared_memory: 50, swap: 1, ..Counted::default() };
        let child = Counted { anonymous: 420, shared_memory: 50, ..Counted::default() };
        let own = Rollup { pss: 120, private: 120, swap: 0, anonymous: 420 };
        assert_eq!(estimate(child, Some(parent)), own);
        let all = Rollup { pss: 350, private: 300, swap: 1, anonymous: 300 };
        assert_eq!(estimate(parent, None), all);
        assert_eq!(estimate(parent, Some(child)).private, 0);
    }

    #[test]
    fn this_process_is_read_and_nobody_is_missing() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let own = table.row(own).unwrap().id;
        let other = ProcessId { started: Uptime::from_micros(7), ..own };
        let mut walks = Walks::default();
        let read = walks.read(&table, own, &[other, own], Pace::Calm).unwrap();
        assert_eq!(read.len(), 1, "a number that is somebody else's is nobody");
        let (id, memory) = read[0];
        assert_eq!(id, own);
        assert!(memory.pss >= memory.private && memory.private > 100 << 10, "{memory:?}");
        assert_eq!(walks.read(&table, own, &[other], Pace::Overlap), Err(Why::Missing));
        assert_eq!(walks.read(&table, own, &[], Pace::Overlap), Ok(Vec::new()));
    }

    #[test]
    fn what_has_large_page_tables_or_much_in_swap_is_not_walked() {
        let small =
            Counted { resident: LARGEST_WALK, page_tables: LARGEST_TABLES, ..Counted::default() };
        assert!(small.is_walkable());
        assert!(!Counted { swap: 1024, ..small }.is_walkable());
        assert!(!Counted { resident: 4 << 20, page_tables: 205 << 20, ..small }.is_walkable());
    }

    #[test]
    fn who_took_too_long_is_estimated_from_then_on() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let own = table.row(own).unwrap().id;
        let mut walks = Walks { dear: [own].into(), ..Walks::default() };
        let (_, memory) = walks.read(&table, own, &[own], Pace::Calm).unwrap()[0];
        assert_eq!(memory.private, memory.anonymous, "as of one that has no parent: {memory:?}");
    }

    #[test]
    fn of_strangers_nothing_is_told() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let own = table.row(own).unwrap();
        let above = table.row(Pid::new(own.parent).unwrap()).unwrap().id;
        let mut walks = Walks::default();
        let read = walks.read(&table, own.id, &[above], Pace::Calm);
        assert_eq!(read, Err(Why::Missing), "who started the tests");
        let read = walks.read(&table, above, &[own.id], Pace::Overlap).unwrap();
        assert_eq!(read.len(), 1, "a child");
        assert_eq!(program(&table, own.id), program(&table, own.id));
        assert_ne!(program(&table, own.id), program(&table, above));
    }
}
