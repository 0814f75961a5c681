//! How many file descriptors a server's processes have open, and may have.
//!
//! The parent is counted in each round, children in turn. A count is one system call where the
//! kernel tells it (6.2 and later), and needs no privilege; a limit is a file to be read, so fewer
//! of them are.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt};

use super::{
    ResourceInstruments, Tree,
    paced::{PACE, Paced},
};
use crate::{
    clock,
    decode::descriptor_limit::soft_limit,
    model::{
        process::{Pid, ProcessId},
        resources::{DescriptorSample, DescriptorUse},
        snapshot::Part,
        source::Why,
    },
    observe::process_table::{ProcessTable, why},
};

/// Children that are counted in one round.
const COUNTS: usize = 100;
/// Children whose limit is read in one round.
const LIMITS: usize = 20;

/// Where the kernel does not tell a count, this many are listed of one process: 3 ms.
const MOST_LISTED: usize = 4096;

/// Counts the file descriptors of a server's processes.
#[derive(Debug, Default)]
pub(super) struct DescriptorObserver {
    last: Paced<Part<DescriptorSample>>,
    counted: Turn,
    limited: Turn,
}

/// Whose turn it is: who comes after the one that was last.
#[derive(Debug, Default)]
struct Turn {
    last: Option<ProcessId>,
}

impl DescriptorObserver {
    /// One look.
    pub(super) fn look(
        &mut self,
        tree: &Tree<'_>,
        instruments: &mut ResourceInstruments<'_>,
    ) -> Part<DescriptorSample> {
        let mut living: BTreeSet<ProcessId> = tree.children.iter().copied().collect();
        if let Some(Part::Seen(sample)) = self.last.latest_mut() {
            sample.processes.retain(|id, _| *id == tree.parent || living.contains(id));
        }
        if let Some(last) = self.last.fresh(tree.at, PACE) {
            return last.clone();
        }
        let mut sample = self.last.latest().and_then(Part::seen).cloned().unwrap_or_default();
        living.remove(&tree.parent);
        let begun = clock::work_of_this_thread();
        let seen = self.round(tree.parent, &living, instruments.table, &mut sample);
        let part = seen.map_or_else(Part::Unseen, |()| Part::Seen(sample));
        let work = clock::work_of_this_thread().saturating_sub(begun);
        self.last.keep_after(tree.at, part, work).clone()
    }

    /// What cannot be read of the parent cannot be read; a child may be gone meanwhile.
    fn round(
        &mut self,
        parent: ProcessId,
        children: &BTreeSet<ProcessId>,
        table: &ProcessTable,
        sample: &mut DescriptorSample,
    ) -> Result<(), Why> {
        let open = open(table, parent.pid)?;
        let soft_limit = limit(table, parent.pid).ok().flatten();
        sample.processes.insert(parent, DescriptorUse { open, soft_limit });
        for child in self.counted.take(children, COUNTS) {
            match self::open(table, child.pid) {
                // Its turn to tell its limit comes: a child starts with the parent's.
                Ok(open) => {
                    let counted =
                        sample.processes.entry(child).or_insert(DescriptorUse { open, soft_limit });
                    counted.open = open;
                }
                Err(_) => {
                    sample.processes.remove(&child);
                }
            }
        }
        for child in self.limited.take(children, LIMITS) {
            if let (Some(counted), Ok(limit)) =
                (sample.processes.get_mut(&child), limit(table, child.pid))
            {
                counted.soft_limit = limit;
            }
        }
        Ok(())
    }
}

impl Turn {
    /// The next so many, each once.
    fn take(&mut self, all: &BTreeSet<ProcessId>, count: usize) -> Vec<ProcessId> {
        let later = |id: &&ProcessId| self.last.is_none_or(|last| **id > last);
        let taken: Vec<ProcessId> = all
            .iter()
            .filter(later)
            .chain(all.iter().filter(|id| !later(id)))
            .take(count)
            .copied()
            .collect();
        self.last = taken.last().copied().or(self.last);
        taken
    }
}

/// How many descriptors a process has open, a number that `accept` keeps for who will come included.
fn open(table: &ProcessTable, pid: Pid) -> Result<u64, Why> {
    let directory = table.path(pid, "fd");
    let told = fs::metadata(&directory).map_err(|error| why(&error))?.size();
    if told > 0 {
        return Ok(told);
    }
    // An older kernel, or a process that has none open, as one that is ending.
    let entries = fs::read_dir(&directory).map_err(|error| why(&error))?;
    let counted = entries.take(MOST_LISTED + 1).count();
    if counted > MOST_LISTED {
        return Err(Why::Limit);
    }
    u64::try_from(counted).map_err(|_| Why::Limit)
}

fn limit(table: &ProcessTable, pid: Pid) -> Result<Option<u64>, Why> {
    let limits = fs::read(table.path(pid, "limits")).map_err(|error| why(&error))?;
    soft_limit(&limits).map_err(|_| Why::Invalid)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::model::time::Uptime;

    fn process(pid: i32) -> ProcessId {
        ProcessId { pid: Pid::new(pid).unwrap(), started: Uptime::from_micros(0) }
    }

    #[test]
    fn each_has_its_turn() {
        let all: BTreeSet<_> = (1..=5).map(process).collect();
        let mut turn = Turn::default();
        assert_eq!(turn.take(&all, 2), [process(1), process(2)]);
        assert_eq!(turn.take(&all, 2), [process(3), process(4)]);
        assert_eq!(turn.take(&all, 2), [process(5), process(1)]);
        assert_eq!(turn.take(&all, 9).len(), 5, "nobody twice");
        assert_eq!(turn.take(&BTreeSet::new(), 2), []);
    }

    #[test]
    fn what_this_process_opens_is_counted() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let files: Vec<File> = (0..40).map(|_| File::open("/dev/null").unwrap()).collect();
        assert!(open(&table, own).unwrap() > 40);
        drop(files);
        assert!(limit(&table, own).unwrap() > Some(40));
    }

    #[test]
    fn an_older_kernel_s_directory_is_counted() {
        let root = tempfile::tempdir().unwrap();
        // Not a procfs: a directory of another file system has a size, or none.
        let table = ProcessTable::new(root.path().into());
        assert_eq!(open(&table, process(1).pid), Err(Why::Missing));
        assert_eq!(limit(&table, process(1).pid), Err(Why::Missing));
    }
}
