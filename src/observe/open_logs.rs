//! The logs that a server's processes have open, asked of the reading process.
//!
//! Here is decided when it is asked and in which order; how many it then reads is its own budget.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::scoreboard::ScoreboardReader;
use crate::model::{
    files::{OpenLog, OpenLogs},
    process::ProcessId,
    snapshot::Part,
    source::Why,
    time::Moment,
};

/// About once a second, and a little less, so that a look a second finds it due.
const PACE: Duration = Duration::from_millis(900);
/// Who may not read it now may not for long.
const REFUSED_PACE: Duration = Duration::from_secs(10);
/// Even a budget that was saved for long reads no more at once.
const MOST_AT_ONCE: usize = 500;
/// Descriptors that are kept, of all processes together: 16 MiB.
const MOST_KEPT: usize = 100_000;

/// Reads which logs one server's processes have open.
#[derive(Debug, Default)]
pub struct OpenLogObserver {
    parent: Option<ProcessId>,
    read: BTreeMap<ProcessId, (Arc<[OpenLog]>, Moment)>,
    asked: Option<Moment>,
    refused: Option<Why>,
    /// The parent took all that there was, so that its children come before it.
    parent_was_alone: bool,
    latest: Arc<OpenLogs>,
}

impl OpenLogObserver {
    /// One look at a living parent and its living children, each of which has its turn.
    pub fn look(
        &mut self,
        at: Moment,
        parent: ProcessId,
        children: &[ProcessId],
        readers: &mut ScoreboardReader,
    ) -> Part<Arc<OpenLogs>> {
        if self.parent != Some(parent) {
            *self = Self { parent: Some(parent), ..Self::default() };
        }
        let living: BTreeSet<ProcessId> = children.iter().copied().chain([parent]).collect();
        let before = self.read.len();
        self.read.retain(|id, _| living.contains(id));
        let mut is_new = self.read.len() != before;
        if self.is_due(at) {
            self.asked = Some(at);
            let given = readers.open_logs(parent, self.order(parent, &living));
            is_new |= self.take(at, parent, living.len(), given);
        }
        if is_new {
            let lists = self.read.iter().map(|(id, (logs, _))| (*id, Arc::clone(logs)));
            self.latest = Arc::new(OpenLogs { processes: lists.collect() });
        }
        match self.refused {
            Some(why) => Part::Unseen(why),
            None if self.read.is_empty() => Part::Unseen(Why::Limit),
            None => Part::Seen(Arc::clone(&self.latest)),
        }
    }

    fn is_due(&self, at: Moment) -> bool {
        let pace = if self.refused == Some(Why::Permission) { REFUSED_PACE } else { PACE };
        self.asked.is_none_or(|asked| at.since(asked) >= pace)
    }

    /// The parent first, then who has waited longest.
    fn order(&self, parent: ProcessId, living: &BTreeSet<ProcessId>) -> Vec<ProcessId> {
        let children = living.iter().filter(|id| **id != parent);
        let waited = |id: &ProcessId| self.read.get(id).map(|(_, read)| *read);
        // Of new ones the newest: they were forked by who has just restarted.
        let mut turns: Vec<_> = children.map(|id| (waited(id), Reverse(id.started), *id)).collect();
        turns.sort_unstable();
        let children = turns.into_iter().map(|(_, _, id)| id).take(MOST_AT_ONCE);
        let first = (!self.parent_was_alone).then_some(parent);
        let last = self.parent_was_alone.then_some(parent);
        first.into_iter().chain(children).chain(last).collect()
    }

    /// Whether anything is other than it was. A list that is already kept is kept once.
    fn take(
        &mut self,
        at: Moment,
        parent: ProcessId,
        living: usize,
        given: Result<Vec<(ProcessId, Vec<OpenLog>)>, Why>,
    ) -> bool {
        let given = match given {
            Ok(given) => given,
            // Who has just ended closes nothing to the others.
            Err(Why::Missing) if !self.read.is_empty() => return false,
            Err(why) => {
                self.refused = Some(why);
                return false;
            }
        };
        self.refused = None;
        if let Some((first, _)) = given.first() {
            self.parent_was_alone = *first == parent && given.len() == 1 && living > 1;
        }
        let mut is_new = false;
        for (id, logs) in given {
            let earlier = self.read.remove(&id);
            let kept = earlier.map(|(logs, _)| logs).filter(|kept| **kept == *logs);
            is_new |= kept.is_none();
            let Some(logs) = kept.or_else(|| self.shared(logs)) else { continue };
            self.read.insert(id, (logs, at));
        }
        is_new
    }

    /// The list that another process has too, or a new one while there is room for it.
    fn shared(&self, logs: Vec<OpenLog>) -> Option<Arc<[OpenLog]>> {
        let mut lists = BTreeMap::new();
        for (kept, _) in self.read.values() {
            let is_first = lists.insert(kept.as_ptr(), kept.len()).is_none();
            if is_first && **kept == *logs {
                return Some(Arc::clone(kept));
            }
        }
        let kept = lists.values().sum::<usize>();
        (kept.saturating_add(logs.len()) <= MOST_KEPT).then(|| logs.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        files::FileIdentity,
        process::Pid,
        time::{Timestamp, Uptime},
    };

    fn at(millis: u64) -> Moment {
        let begin = Moment { uptime: Uptime::from_micros(1), wall: Timestamp::from_micros(1) };
        begin.after(Duration::from_millis(millis))
    }

    fn born(pid: i32, millis: u64) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: at(millis).uptime }
    }

    fn logs(count: u64) -> Vec<OpenLog> {
        let log = |inode| {
            let file = FileIdentity { device: 1, inode, born: None };
            OpenLog { file, path: format!("/log/{inode}").into(), is_deleted: false }
        };
        (0..count).map(log).collect()
    }

    #[test]
    fn the_parent_is_first_and_then_who_has_waited_longest() {
        let (parent, living) = (born(1, 0), (1..=4).map(|pid| born(pid, 0)));
        let living: BTreeSet<ProcessId> = living.chain([born(5, 900)]).collect();
        let mut observer = OpenLogObserver::default();
        let order = |observer: &OpenLogObserver| -> Vec<i32> {
            observer.order(parent, &living).iter().map(|id| id.pid.as_raw()).collect()
        };
        assert_eq!(order(&observer), [1, 5, 2, 3, 4], "the newest generation");
        observer.take(at(1000), parent, 5, Ok(vec![(parent, logs(1)), (born(5, 900), logs(1))]));
        assert_eq!(order(&observer), [1, 2, 3, 4, 5]);
        observer.take(at(2000), parent, 5, Ok(vec![(parent, logs(1))]));
        assert_eq!(order(&observer), [2, 3, 4, 5, 1], "it took all that there was");
        observer.take(at(3000), parent, 5, Ok(Vec::new()));
        assert_eq!(order(&observer), [2, 3, 4, 5, 1], "there was nothing to be had");
        observer.take(at(4000), parent, 5, Ok(vec![(born(2, 0), logs(1))]));
        assert_eq!(order(&observer), [1, 3, 4, 5, 2]);
    }

    #[test]
    fn equal_lists_are_kept_once_and_no_more_than_there_is_room_for() {
        let (parent, child) = (born(1, 0), born(2, 0));
        let mut observer = OpenLogObserver::default();
        assert!(observer.take(at(0), parent, 2, Ok(vec![(parent, logs(3)), (child, logs(3))])));
        let kept: Vec<_> = observer.read.values().map(|(logs, _)| logs.as_ptr()).collect();
        assert_eq!(kept.first(), kept.last());
        assert!(!observer.take(at(1), parent, 2, Ok(vec![(child, logs(3))])), "nothing is new");
        let many = u64::try_from(MOST_KEPT).unwrap();
        assert!(observer.take(at(2), parent, 2, Ok(vec![(child, logs(many))])));
        assert_eq!(observer.read.len(), 1, "nothing is told of it");
    }

    #[test]
    fn who_has_just_ended_closes_nothing_and_who_is_refused_is_asked_rarely() {
        let parent = born(1, 0);
        let mut observer = OpenLogObserver::default();
        observer.take(at(0), parent, 1, Ok(vec![(parent, logs(1))]));
        observer.take(at(0), parent, 1, Err(Why::Missing));
        assert_eq!(observer.refused, None);
        assert!(observer.is_due(at(0)));
        observer.asked = Some(at(0));
        assert!(!observer.is_due(at(899)) && observer.is_due(at(900)));
        observer.take(at(0), parent, 1, Err(Why::Permission));
        assert_eq!(observer.refused, Some(Why::Permission));
        assert!(!observer.is_due(at(9999)) && observer.is_due(at(10_000)));
    }
}
