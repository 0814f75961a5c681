//! System V objects and shared memory.
//!
//! The tables of System V objects are those of gracekeeper's own IPC namespace. A parent in another
//! one has none that can be seen there; where its namespace cannot be told, it is taken for the same.

mod founders;
mod owners;

use std::time::Duration;

use self::{founders::Founders, owners::Owners};
use super::{
    Mounts, ResourceInstruments, Tree,
    kernel_file::content,
    paced::{PACE, Paced},
};
use crate::{
    decode::{number, sysvipc},
    model::{
        resources::{IpcSample, SharedMemory},
        snapshot::Part,
        source::Why,
    },
};

/// Mappings take the reading process a millisecond, and change at restarts only.
const MAPPINGS: Duration = Duration::from_secs(5);

/// Reads System V objects and /dev/shm.
#[derive(Debug, Default)]
pub(super) struct IpcObserver {
    last: Paced<Part<IpcSample>>,
    shared: Paced<Result<SharedMemory, Why>>,
    owners: Option<Owners>,
    founders: Founders,
}

/// The tables and limits of this IPC namespace, which may hold many thousands of anybody's objects:
/// read once for all servers.
#[derive(Debug)]
pub(super) struct Tables {
    arrays: Vec<sysvipc::SemaphoreArray>,
    array_limits: sysvipc::SemaphoreLimits,
    segments: Vec<sysvipc::Segment>,
    /// `SHMMNI`.
    segment_limit: u64,
    /// `SHMALL`, in bytes.
    segment_bytes_limit: u64,
}

impl IpcObserver {
    /// One look.
    pub(super) fn look(
        &mut self,
        tree: &Tree<'_>,
        instruments: &mut ResourceInstruments<'_>,
    ) -> Part<IpcSample> {
        if let Some(last) = self.last.fresh(tree.at, PACE) {
            return last.clone();
        }
        let sample = self.sample(tree, instruments).map_or_else(Part::Unseen, Part::Seen);
        self.last.keep(tree.at, sample).clone()
    }

    fn sample(
        &mut self,
        tree: &Tree<'_>,
        instruments: &mut ResourceInstruments<'_>,
    ) -> Result<IpcSample, Why> {
        let read = || instruments.readers.shared_memory(tree.parent);
        let shared = *self.shared.get(tree.at, MAPPINGS, read);
        if shared.is_ok_and(|shared| !shared.is_same_namespace) {
            return Err(Why::Missing);
        }
        let tables = instruments.host.tables(tree.at)?;
        let owners = Owners::of(tree, instruments.table, self.owners.take())?;
        let mut sample = tables.sums();
        for array in tables.arrays.iter().filter(|array| owners.may_have_array(array)) {
            if owners.began_before(array.changed) {
                sample.semaphores_live += 1;
            } else if !self.founders.have(tree, instruments, &owners, array.changed) {
                sample.semaphores_orphan += 1;
            }
        }
        for segment in tables.segments.iter().filter(|segment| owners.may_have_segment(segment)) {
            if owners.has_segment(segment) {
                sample.shm_live += 1;
                sample.segment_bytes = sample.segment_bytes.saturating_add(segment.bytes);
            } else if owners::is_left(segment, instruments.table) {
                sample.shm_orphan += 1;
            }
        }
        sample.segment_room = tables.room(sample.shm_live);
        if let Ok(shared) = shared {
            sample.shm_bytes = Some(shared.bytes);
            sample.shm_available = shared.available;
        }
        self.owners = Some(owners);
        Ok(sample)
    }
}

impl Tables {
    pub(super) fn read(mounts: &Mounts) -> Result<Self, Why> {
        let file = |name: &str| content(&mounts.procfs.join(name));
        let number = |name: &str| number::number(&file(name)?).ok_or(Why::Invalid);
        let pages = number("sys/kernel/shmall")?;
        let page = u64::try_from(rustix::param::page_size()).map_err(|_| Why::Other)?;
        Ok(Self {
            arrays: sysvipc::semaphore_arrays(&file("sysvipc/sem")?).ok_or(Why::Invalid)?,
            array_limits: sysvipc::semaphore_limits(&file("sys/kernel/sem")?)
                .ok_or(Why::Invalid)?,
            segments: sysvipc::segments(&file("sysvipc/shm")?).ok_or(Why::Invalid)?,
            segment_limit: number("sys/kernel/shmmni")?,
            segment_bytes_limit: pages.saturating_mul(page),
        })
    }

    /// What is anybody's.
    fn sums(&self) -> IpcSample {
        let members = self.arrays.iter().map(|array| array.semaphores);
        IpcSample {
            semaphores_used: count(&self.arrays),
            semaphores_limit: self.array_limits.arrays,
            members_used: members.fold(0, u64::saturating_add),
            members_limit: self.array_limits.semaphores,
            ..IpcSample::default()
        }
    }

    /// For how many bytes there may be that many more segments.
    fn room(&self, more: u64) -> u64 {
        if count(&self.segments).saturating_add(more) > self.segment_limit {
            return 0;
        }
        let used = self.segments.iter().fold(0_u64, |sum, it| sum.saturating_add(it.bytes));
        self.segment_bytes_limit.saturating_sub(used)
    }
}

fn count<T>(things: &[T]) -> u64 {
    u64::try_from(things.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::sysvipc::{Segment, SemaphoreLimits};

    fn tables() -> Tables {
        let segment = Segment {
            mode: 0o600,
            bytes: 60,
            maker: 1,
            attached: 1,
            user: 0,
            creator: 0,
            changed: 0,
        };
        Tables {
            arrays: Vec::new(),
            array_limits: SemaphoreLimits { semaphores: 9, arrays: 3 },
            segments: vec![segment],
            segment_limit: 2,
            segment_bytes_limit: 100,
        }
    }

    #[test]
    fn the_tighter_limit_of_segments_is_the_room() {
        assert_eq!(tables().room(1), 40);
        assert_eq!(tables().room(2), 0, "there may be two");
    }

    #[test]
    fn the_tables_of_this_host_are_read() {
        let mounts = Mounts { procfs: "/proc".into(), sysfs: "/sys".into() };
        let sums = Tables::read(&mounts).map(|tables| tables.sums()).unwrap();
        assert!(sums.semaphores_limit > 0);
        let mounts = Mounts { procfs: "/nowhere".into(), sysfs: "/sys".into() };
        assert_eq!(Tables::read(&mounts).err(), Some(Why::Missing));
    }
}
