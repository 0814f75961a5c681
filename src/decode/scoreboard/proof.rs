//! Which of the layouts that fit a segment's size is the one it was written with.
//!
//! Read with another release's stride a slot's pid is some counter of a neighbour, and most
//! children are not found. So the process table decides: a layout is proven by children that it
//! finds and every other fitting layout misses, as long as nothing in it is impossible. A child
//! that is nowhere (the cgid daemon, a daemon of another module, one just forked, one that lost its
//! slot to a newer one) says nothing, however many there are; a child whose pid stands where the
//! layout has none refutes it, also against strides that nobody has seen yet.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Members,
    layout::Layout,
    record::{self, Testimony},
    segment::{Header, ProcessScore, View},
};
use crate::model::{
    process::Pid,
    scoreboard::{ShowRequests, SlotRecord},
};

/// No count of connections, bucket or generation of a slot is expected to reach this: a pid above
/// does not look like one.
const COUNTERS_STAY_BELOW: i32 = 1_024;
/// The kernel gives the pids below once, not again after they have wrapped round.
const RESERVED_PIDS: i32 = 300;

/// What a segment says under one layout.
#[derive(Clone, Debug)]
pub(super) struct Account {
    layout: Layout,
    records: Vec<SlotRecord>,
    found: BTreeMap<Pid, Found>,
    /// Children whose pid stands where this layout has no pid.
    misplaced: usize,
    contradicted: bool,
}

/// The slots of the layout that was believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) slots: Option<Vec<SlotRecord>>,
    pub(super) layout: Option<Layout>,
}

/// A child of the process table that has a slot.
#[derive(Clone, Copy, Debug)]
struct Found {
    slot: u32,
    workers: Testimony,
    number: Number,
}

/// What else in a slot a child's pid could be mistaken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    /// A generation, or any count.
    Generation,
    /// Connections or a bucket; prefork has no such counts.
    Count,
    /// Nothing.
    Distinct,
}

/// How one account compares with another.
struct Comparison {
    /// Children that only the one has, or that only its workers confirm.
    better: usize,
    /// The same of the other.
    worse: usize,
    /// One of the better ones cannot be a counter that happens to have a child's number.
    convincing: bool,
}

/// Believes the layout that was kept if nothing speaks against it, else the one that is proven.
pub(super) fn judge(accounts: &[Account], kept: Option<Layout>) -> Verdict {
    let rivals = |account: &Account| {
        let layout = account.layout;
        accounts.iter().filter(move |rival| rival.layout != layout)
    };
    let kept = accounts.iter().find(|account| Some(account.layout) == kept);
    if let Some(account) = kept.filter(|account| account.holds(rivals(account))) {
        return account.verdict(true);
    }
    let mut proven = accounts.iter().filter(|account| account.is_proven(rivals(account)));
    let Some(first) = proven.next() else {
        return Verdict::default();
    };
    let mut others = proven.peekable();
    let alone = others.peek().is_none();
    if others.any(|other| other.records != first.records) {
        return Verdict::default();
    }
    first.verdict(alone)
}

impl Account {
    /// Reads every slot, used or not, under a layout.
    pub(super) fn take(
        view: View<'_>,
        header: Header,
        layout: Layout,
        members: &Members,
        show: ShowRequests,
    ) -> Self {
        let mut account = Self {
            layout,
            records: Vec::new(),
            found: BTreeMap::new(),
            misplaced: 0,
            contradicted: false,
        };
        for (slot, process) in view.processes() {
            account.contradicted |= !is_possible(process, header.running_generation);
            let Some(pid) = Pid::new(process.pid) else {
                continue;
            };
            let reader = record::Reader { members, show, running: header.running_generation };
            let told = reader.tell(slot, pid, process, view.workers(slot));
            account.contradicted |= told.workers == Testimony::Contradicted;
            account.records.push(told.record);
            if members.contains(pid) {
                let number = Number::of(pid, header.running_generation);
                let found = Found { slot, workers: told.workers, number };
                let twice = account.found.insert(pid, found).is_some();
                account.contradicted |= twice && members.is_alive(pid);
            } else {
                account.contradicted |= is_no_dead_child(pid, header.running_generation);
            }
        }
        account.misplaced = account.count_misplaced(view, header, members);
        account
    }

    fn count_misplaced(&self, view: View<'_>, header: Header, members: &Members) -> usize {
        let misplaced: BTreeSet<Pid> = view
            .process_words()
            .filter_map(Pid::new)
            .filter(|pid| members.contains(*pid) && !self.found.contains_key(pid))
            .filter(|pid| Number::of(*pid, header.running_generation) == Number::Distinct)
            .collect();
        misplaced.len()
    }

    fn is_proven<'a>(&self, mut rivals: impl Iterator<Item = &'a Self>) -> bool {
        !self.contradicted
            && self.misplaced == 0
            && !self.found.is_empty()
            && rivals.all(|rival| self.beats(rival))
    }

    /// A kept layout needs no proof, only that nothing speaks for another.
    fn holds<'a>(&self, mut rivals: impl Iterator<Item = &'a Self>) -> bool {
        let lost = self.found.is_empty() && self.misplaced > 0;
        let loses = |rival: &Self| {
            let theirs = rival.against(self);
            theirs.convincing && theirs.better > theirs.worse
        };
        !self.contradicted && !lost && !rivals.any(loses)
    }

    fn beats(&self, rival: &Self) -> bool {
        if rival.misplaced > 0 {
            return true;
        }
        let Comparison { better, worse, convincing } = self.against(rival);
        match (better, worse) {
            // The children found are the same: one in the first slot has every stride's place.
            (0, 0) => rival.contradicted || rival.records == self.records,
            (_, 0) => convincing,
            // What only the rival finds can be a counter that happens to be, say, the cgid
            // daemon's pid. That takes the small pids of a container, and happens once.
            _ => convincing && better >= worse.saturating_add(2),
        }
    }

    fn against(&self, rival: &Self) -> Comparison {
        let better: Vec<&Found> = self.found_better_than(rival).collect();
        Comparison {
            convincing: better.iter().any(|found| found.is_convincing()),
            better: better.len(),
            worse: rival.found_better_than(self).count(),
        }
    }

    fn found_better_than<'a>(&'a self, rival: &'a Self) -> impl Iterator<Item = &'a Found> {
        self.found.iter().filter_map(|(pid, found)| match rival.found.get(pid) {
            None => Some(found),
            Some(theirs) => {
                let confirmed = found.is_confirmed() && !theirs.is_confirmed();
                (found.slot != theirs.slot && confirmed).then_some(found)
            }
        })
    }

    fn verdict(&self, proven: bool) -> Verdict {
        Verdict { slots: Some(self.records.clone()), layout: proven.then_some(self.layout) }
    }
}

impl Found {
    fn is_confirmed(self) -> bool {
        matches!(self.workers, Testimony::Named | Testimony::Present)
    }

    fn is_convincing(self) -> bool {
        match (self.workers, self.number) {
            (Testimony::Named, _) | (_, Number::Distinct) | (Testimony::Present, Number::Count) => {
                true
            }
            (_, Number::Count | Number::Generation) => false,
        }
    }
}

impl Number {
    fn of(pid: Pid, running_generation: i32) -> Self {
        match pid.as_raw() {
            number if number <= running_generation => Self::Generation,
            number if number <= COUNTERS_STAY_BELOW => Self::Count,
            _ => Self::Distinct,
        }
    }
}

/// What httpd can have written into a slot, in use or not; a free one keeps its last child's values.
///
/// No lower bound for the generation: a child just forked shows that of the slot's last child, and
/// a draining one may be as old as the server.
fn is_possible(process: ProcessScore, running_generation: i32) -> bool {
    process.pid >= 0
        && (0..=running_generation).contains(&process.generation)
        && process.quiescing <= 2
        && process.not_accepting <= 2
        && process.padding == 0
}

/// Each generation forks at least once, and the parent came before: until the pids wrap round, that
/// of a child of generation n is n + 2 or more.
fn is_no_dead_child(pid: Pid, running_generation: i32) -> bool {
    pid.as_raw() < running_generation.saturating_add(2).min(RESERVED_PIDS)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    const OF_2_4_37: &[u8] =
        include_bytes!("../../../tests/fixtures/scoreboards/2.4.37-event-drain2.seg0.bin");
    const CHILDREN_OF_2_4_37: [i32; 3] = [3_795, 3_826, 3_827];
    const OF_2_4_71: &[u8] =
        include_bytes!("../../../tests/fixtures/scoreboards/2.4.71-event-drain2.seg0.bin");
    const CHILDREN_OF_2_4_71: [i32; 3] = [3_929, 3_960, 3_968];

    fn account(segment: &[u8], children: &[i32], layout: Layout) -> Account {
        let header = Header::read(segment).unwrap();
        let view = View::new(segment, header, layout).unwrap();
        let members = children.iter().map(|pid| (Pid::new(*pid).unwrap(), true));
        Account::take(view, header, layout, &Members::new(members), ShowRequests::Off)
    }

    #[test]
    fn the_wrong_stride_is_refused_also_when_there_is_no_other() {
        let traps = [
            (OF_2_4_37, CHILDREN_OF_2_4_37, Layout::Since2_4_35, Layout::WithWaitIo),
            (OF_2_4_71, CHILDREN_OF_2_4_71, Layout::WithWaitIo, Layout::Since2_4_35),
        ];
        for (segment, children, right, wrong) in traps {
            let right = account(segment, &children, right);
            assert_eq!(right.found.len(), 3);
            assert!(!right.contradicted && right.misplaced == 0);
            let wrong = account(segment, &children, wrong);
            assert!(wrong.found.len() < 3);
            assert_eq!(judge(from_ref(&wrong), None), Verdict::default());
            let both = [wrong.clone(), right.clone()];
            assert_eq!(judge(&both, None), right.verdict(true));
            assert_eq!(judge(&both, Some(wrong.layout)), right.verdict(true), "wrongly kept");
        }
    }

    #[test]
    fn a_wrong_stride_does_not_win_because_a_restart_spoils_the_right_one() {
        let mut right = account(OF_2_4_71, &CHILDREN_OF_2_4_71, Layout::WithWaitIo);
        let wrong = account(OF_2_4_71, &CHILDREN_OF_2_4_71, Layout::Since2_4_35);
        right.contradicted = true;
        assert_eq!(judge(&[right, wrong], None), Verdict::default());
    }

    #[test]
    fn a_kept_layout_is_read_with_nobody_left_to_prove_it() {
        let right = account(OF_2_4_71, &[], Layout::WithWaitIo);
        let only = from_ref(&right);
        assert_eq!(judge(only, None), Verdict::default());
        assert_eq!(judge(only, Some(right.layout)), right.verdict(true));
    }
}
