//! How much of `/dev/shm` a parent has, and how much is free there.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
};

use procfs::process::{MMPermissions, MMapPath, MemoryMap};
use rustix::fs::statvfs;

use super::{
    super::process_table::{ProcessTable, why},
    mappings::{self, bounded},
};
use crate::model::{process::ProcessId, resources::SharedMemory, source::Why};

/// Which bytes of which file a mapping shows: device and inode, from, up to.
type Stretch = (((i32, i32), u64), u64, u64);

/// The parent's shared memory. A graceful restart keeps the scoreboard, which is mapped at this
/// address.
pub(super) fn read(
    table: &ProcessTable,
    parent: ProcessId,
    scoreboard: Option<u64>,
) -> Result<SharedMemory, Why> {
    let is_same_namespace = has_own_ipc(table, parent)?;
    if !is_same_namespace {
        return Ok(SharedMemory { bytes: 0, available: None, is_same_namespace });
    }
    let maps = mappings::of(table, parent.pid)?;
    let bytes = mapped(maps.iter().filter(|map| Some(map.address.0) != scoreboard));
    let available =
        if has_own_directory(table, parent) { free(Path::new("/dev/shm")) } else { None };
    // The number may have changed hands meanwhile.
    if table.row(parent.pid)?.id != parent {
        return Err(Why::Missing);
    }
    Ok(SharedMemory { bytes, available, is_same_namespace })
}

/// A process has the IPC namespace of this one.
pub(super) fn has_own_ipc(table: &ProcessTable, parent: ProcessId) -> Result<bool, Why> {
    let theirs = namespace(&table.path(parent.pid, "ns/ipc"))?;
    let is_same = theirs == namespace(Path::new("/proc/self/ns/ipc"))?;
    // The number may have changed hands meanwhile.
    if table.row(parent.pid)?.id == parent { Ok(is_same) } else { Err(Why::Missing) }
}

/// The process's `/dev/shm` is this one's, also where it has a namespace of mounts to itself, as by
/// systemd's `PrivateTmp`.
fn has_own_directory(table: &ProcessTable, parent: ProcessId) -> bool {
    let device = |path: &Path| File::open(path).ok().and_then(|file| device(&bounded(file).ok()?));
    has_own_root(table, parent)
        || device(&table.path(parent.pid, "mountinfo"))
            .is_some_and(|theirs| device(Path::new("/proc/self/mountinfo")) == Some(theirs))
}

/// Which file system is mounted at `/dev/shm`; the last one hides those before it.
fn device(mounts: &[u8]) -> Option<Vec<u8>> {
    let lines = mounts.split(|byte| *byte == b'\n');
    let mut at_directory = lines.filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let (device, root, place) = (fields.next()?, fields.next()?, fields.next()?);
        (root == b"/" && place == b"/dev/shm").then(|| device.to_vec())
    });
    at_directory.next_back()
}

/// A process has the mounts and the root directory of this one, as far as that can be told without
/// touching its file systems: one that it mounted itself need not answer.
fn has_own_root(table: &ProcessTable, parent: ProcessId) -> bool {
    let mounts = namespace(&table.path(parent.pid, "ns/mnt"));
    let root = fs::read_link(table.path(parent.pid, "root"));
    let own = (namespace(Path::new("/proc/self/ns/mnt")), fs::read_link("/proc/self/root"));
    mounts.is_ok_and(|mounts| own.0 == Ok(mounts))
        && root.is_ok_and(|root| own.1.is_ok_and(|own| own == root))
}

fn namespace(link: &Path) -> Result<(u64, u64), Why> {
    fs::metadata(link).map(|it| (it.dev(), it.ino())).map_err(|error| why(&error))
}

/// Whole pages, as the file system counts them; what is mapped more than once is there once.
fn mapped<'a>(maps: impl Iterator<Item = &'a MemoryMap>) -> u64 {
    let shared = maps.filter(|map| {
        map.perms.contains(MMPermissions::SHARED)
            && matches!(&map.pathname, MMapPath::Path(path) if path.starts_with("/dev/shm"))
    });
    let parts: BTreeSet<Stretch> = shared.map(stretch).collect();
    let mut reached = None;
    let mut bytes = 0_u64;
    for (file, start, end) in parts {
        let start = match reached {
            Some((last, reached)) if last == file => start.max(reached),
            Some(_) | None => start,
        };
        bytes = bytes.saturating_add(end.saturating_sub(start));
        reached = Some((file, end.max(start)));
    }
    bytes
}

fn stretch(map: &MemoryMap) -> Stretch {
    let (start, end) = map.address;
    let length = end.saturating_sub(start);
    ((map.dev, map.inode), map.offset, map.offset.saturating_add(length))
}

/// A tmpfs without a limit has no blocks.
fn free(directory: &Path) -> Option<u64> {
    let found = statvfs(directory).ok().filter(|found| found.f_blocks > 0)?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use procfs::{FromBufRead as _, process::MemoryMaps};

    use super::*;

    fn bytes(maps: &str) -> u64 {
        mapped(MemoryMaps::from_buf_read(maps.as_bytes()).unwrap().iter())
    }

    #[test]
    fn each_byte_of_a_file_counts_once() {
        let whole = "7f0000000000-7f0000004000 rw-s 00000000 00:1a 5 /dev/shm/one\n";
        assert_eq!(bytes(whole), 0x4000);
        let again = "7f1000000000-7f1000001000 r--s 00001000 00:1a 5 /dev/shm/one\n";
        assert_eq!(bytes(&[whole, again].concat()), 0x4000, "a part of it");
        assert_eq!(bytes(&[again, whole].concat()), 0x4000);
        let rest = "7f2000000000-7f2000002000 rw-s 00003000 00:1a 5 /dev/shm/one\n";
        assert_eq!(bytes(&[whole, again, rest].concat()), 0x5000, "and what is beyond it");
        let apart = "7f3000000000-7f3000001000 rw-s 00008000 00:1a 5 /dev/shm/one\n";
        assert_eq!(bytes(&[again, apart].concat()), 0x2000);
        let other = "7f4000000000-7f4000001000 rw-s 00000000 00:1a 6 /dev/shm/two (deleted)\n";
        assert_eq!(bytes(&[whole, other].concat()), 0x5000);
    }

    #[test]
    fn what_nobody_shares_or_is_elsewhere_does_not_count() {
        let private = "7f0000000000-7f0000004000 rw-p 00000000 00:1a 5 /dev/shm/one\n";
        let elsewhere = "7f0000000000-7f0000004000 rw-s 00000000 00:1a 5 /dev/zero\n";
        assert_eq!(bytes(&[private, elsewhere].concat()), 0);
    }
}

#[cfg(test)]
mod root_tests {
    use super::*;
    use crate::model::process::Pid;

    #[test]
    fn this_process_has_its_own_root_and_namespace_and_a_number_that_is_nobodys_has_none() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let own = table.row(own).unwrap().id;
        assert!(has_own_root(&table, own));
        assert_eq!(has_own_ipc(&table, own), Ok(true));
        let nobody = ProcessId { pid: Pid::new(i32::MAX).unwrap(), ..own };
        assert!(!has_own_root(&table, nobody));
        assert_eq!(has_own_ipc(&table, nobody), Err(Why::Missing));
    }

    #[test]
    fn what_is_mounted_for_shared_memory_is_told_by_its_device() {
        let mounts = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            25 21 0:24 / /dev/shm rw,nosuid - tmpfs tmpfs rw\n";
        assert_eq!(device(mounts), Some(b"0:24".to_vec()));
        let hidden = [mounts.as_slice(), b"99 25 0:77 / /dev/shm rw - fuse x rw\n"].concat();
        assert_eq!(device(&hidden), Some(b"0:77".to_vec()));
        assert_eq!(device(b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n9 1 0:2\n"), None);
    }
}
