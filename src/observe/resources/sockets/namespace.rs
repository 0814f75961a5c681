//! The network namespace: whether a process lives in this one, and what was dropped in it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    decode::netstat::listen_drops,
    model::{process::ProcessId, resources::NetnsDrops, source::Why},
    observe::{process_table::ProcessTable, resources::kernel_file::content},
};

/// What was dropped since the namespace was made.
pub(in crate::observe::resources) fn dropped(procfs: &Path) -> Result<NetnsDrops, Why> {
    listen_drops(&content(&procfs.join("self/net/netstat"))?).ok_or(Why::Invalid)
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
