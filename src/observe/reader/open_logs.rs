//! The logs that processes have open: regular files that they only append to, by their names now.
//!
//! A descriptor takes 16 microseconds, and a parent has two for each of its virtual hosts. So who
//! asks names the processes in the order in which he wants them, and is given as many as a budget
//! allows.

use std::{
    fs::{self, DirEntry, File},
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, FileType, OFlags, Statx, StatxFlags, makedev, statx};

use super::{
    super::process_table::{ProcessTable, why},
    memory::{Budget, Kinship, Pace},
};
use crate::{
    decode::descriptor_flags::descriptor_flags,
    model::{
        files::{FileIdentity, OpenLog},
        process::ProcessId,
        source::Why,
        time::Timestamp,
    },
};

/// As many descriptors take 0.3 s: two logs of each of 8000 virtual hosts.
const MOST: usize = 16_384;
/// What is told at once: the names of 16 384 logs take 2 MiB.
const MOST_BYTES: usize = 8 << 20;
/// The flags are in the second line.
const HEAD: u64 = 256;
/// What the kernel says of a name that is gone.
const DELETED: &str = " (deleted)";

/// What listings may cost.
#[derive(Default)]
pub(super) struct Listings {
    budget: Budget,
}

impl Listings {
    /// The logs of the first of those that still live, as many as there is time for; an error if
    /// none of them may be listed. Who does not belong to this parent's server is missing.
    pub(super) fn read(
        &mut self,
        table: &ProcessTable,
        parent: ProcessId,
        processes: &[ProcessId],
    ) -> Result<Vec<(ProcessId, Vec<OpenLog>)>, Why> {
        let (mut left, mut is_first) = (MOST_BYTES, true);
        self.budget.round(parent, processes, Pace::Calm, |kinship, id| {
            let logs = if left == 0 {
                Err(Why::Limit)
            } else {
                logs_of_one(table, kinship, id, &mut left)
            };
            match logs {
                // It is the first of the next answer.
                Err(Why::Limit) if left == 0 && !is_first => Ok(None),
                logs => {
                    is_first &= logs.is_err();
                    logs.map(Some)
                }
            }
        })
    }
}

fn logs_of_one(
    table: &ProcessTable,
    kinship: &mut Kinship,
    id: ProcessId,
    left: &mut usize,
) -> Result<Vec<OpenLog>, Why> {
    let row = table.row(id.pid)?;
    if row.id != id || !kinship.includes(table, &row) {
        return Err(Why::Missing);
    }
    let logs = logs(table, id, left)?;
    // The number may have changed hands meanwhile.
    if table.row(id.pid)?.id == id { Ok(logs) } else { Err(Why::Missing) }
}

fn logs(table: &ProcessTable, id: ProcessId, left: &mut usize) -> Result<Vec<OpenLog>, Why> {
    let details = table.path(id.pid, "fdinfo");
    let descriptors = fs::read_dir(table.path(id.pid, "fd")).map_err(|error| why(&error))?;
    let mut logs = Vec::new();
    for (count, descriptor) in descriptors.enumerate() {
        if count >= MOST {
            return Err(Why::Limit);
        }
        match descriptor.map_err(|error| why(&error)).and_then(|it| log(&it, &details)) {
            Ok(Some(log)) => {
                *left = left.saturating_sub(log.path.as_os_str().len() + size_of::<OpenLog>());
                logs.push(log);
            }
            // It is something else, or was closed meanwhile.
            Ok(None) | Err(Why::Missing) => {}
            Err(why) => return Err(why),
        }
        if *left == 0 {
            return Err(Why::Limit);
        }
    }
    Ok(logs)
}

fn log(descriptor: &DirEntry, details: &Path) -> Result<Option<OpenLog>, Why> {
    let link = descriptor.path();
    let target = fs::read_link(&link).map_err(|error| why(&error))?;
    if !may_be_file(&target) || !is_appended(&details.join(descriptor.file_name()))? {
        return Ok(None);
    }
    // A file system that does not answer is not asked: what the kernel has at hand will do.
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::BTIME;
    let found = statx(CWD, &link, AtFlags::STATX_DONT_SYNC, wanted);
    let found = found.map_err(|error| why(&error.into()))?;
    if FileType::from_raw_mode(found.stx_mode.into()) != FileType::RegularFile {
        return Ok(None);
    }
    // What is told must be text: a name that is none is told as like it as can be.
    let name = target.to_string_lossy();
    let kept = name.strip_suffix(DELETED);
    let path = PathBuf::from(kept.unwrap_or(&name));
    Ok(Some(OpenLog { file: identity(&found), path, is_deleted: kept.is_some() }))
}

/// Not a socket, a pipe, a terminal, or memory.
fn may_be_file(target: &Path) -> bool {
    let name = target.as_os_str().as_bytes();
    name.starts_with(b"/") && !name.starts_with(b"/dev/") && !name.starts_with(b"/memfd:")
}

fn is_appended(details: &Path) -> Result<bool, Why> {
    let mut head = Vec::new();
    let file = File::open(details).map_err(|error| why(&error))?;
    file.take(HEAD).read_to_end(&mut head).map_err(|error| why(&error))?;
    let flags = OFlags::from_bits_retain(descriptor_flags(&head).ok_or(Why::Invalid)?);
    Ok(flags.contains(OFlags::APPEND) && flags.intersects(OFlags::WRONLY | OFlags::RDWR))
}

fn identity(found: &Statx) -> FileIdentity {
    let born = found.stx_btime;
    let micros =
        born.tv_sec.saturating_mul(1_000_000).saturating_add(i64::from(born.tv_nsec / 1000));
    let has_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    FileIdentity {
        device: makedev(found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        born: has_birth.then_some(Timestamp::from_micros(micros)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::model::{process::Pid, time::Uptime};

    fn own() -> ProcessId {
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        ProcessTable::new("/proc".into()).row(own).unwrap().id
    }

    fn open(path: &Path, append: bool) -> File {
        File::options().create(true).append(append).write(true).open(path).unwrap()
    }

    #[test]
    fn only_regular_files_that_are_appended_to_are_logs() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let kept = open(&path("kept"), true);
        let _files = [open(&path("renamed"), true), open(&path("deleted"), true)];
        let _others = [open(&path("written"), false), File::open(path("kept")).unwrap()];
        fs::rename(path("renamed"), path("other")).unwrap();
        fs::remove_file(path("deleted")).unwrap();
        let table = ProcessTable::new("/proc".into());
        let mut left = MOST_BYTES;
        let logs = logs(&table, own(), &mut left).unwrap();
        let mut found: Vec<_> = logs
            .iter()
            .filter(|log| log.path.starts_with(directory.path()))
            .map(|log| (log.path.clone(), log.is_deleted))
            .collect();
        found.sort();
        let expected = [(path("deleted"), true), (path("kept"), false), (path("other"), false)];
        assert_eq!(found, expected);
        let kept_log = logs.iter().find(|log| log.path == path("kept")).unwrap();
        let metadata = kept.metadata().unwrap();
        assert_eq!(kept_log.file.inode, metadata.ino());
        assert_eq!(kept_log.file.device, metadata.dev());
        let mut left = 1;
        assert_eq!(super::logs(&table, own(), &mut left), Err(Why::Limit));
    }

    #[test]
    fn who_belongs_to_the_server_is_listed_and_nobody_else() {
        let (table, own) = (ProcessTable::new("/proc".into()), own());
        let row = table.row(own.pid).unwrap();
        let above = table.row(Pid::new(row.parent).unwrap()).unwrap().id;
        let earlier = ProcessId { started: Uptime::from_micros(1), ..own };
        let mut listings = Listings::default();
        let read = listings.read(&table, own, &[earlier, own]).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(listings.read(&table, earlier, &[above]), Err(Why::Missing));
        assert_eq!(listings.read(&table, own, &[]), Ok(Vec::new()));
    }
}
