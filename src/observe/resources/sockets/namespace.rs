//! The network namespace: whether a process lives in this one, and what was dropped in it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    decode::netstat::listen_drops,
    model::{process::ProcessId, resources::NetnsDrops},
    observe::{process_table::ProcessTable, regular_file},
};

/// Some 200 counters of up to 20 digits, with their names, take 8 KiB.
const LONGEST: u64 = 64 << 10;

/// What was dropped since the namespace was made.
pub(super) fn read(procfs: &Path) -> Option<NetnsDrops> {
    let (text, _) = regular_file::read(&procfs.join("self/net/netstat"), LONGEST).ok()??;
    listen_drops(&text)
}

/// A process lives in this process's network namespace; `None` if that cannot be told.
///
/// `ns/net` is closed to all but who may trace the process. But the files below `net` are those of
/// its namespace, each with an inode of its own, and open to everybody.
pub(super) fn is_own(table: &ProcessTable, process: ProcessId, procfs: &Path) -> Option<bool> {
    let number = |path: &Path| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
    let own = number(&procfs.join("self/net/netstat"))?;
    Some(number(&table.path(process.pid, "net/netstat"))? == own)
}
