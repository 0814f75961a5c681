//! How much a cgroup and those above it leave.
//!
//! What the kernel takes back before it kills was tried with version 1, under a limit of 100 MB:
//! 60 MB of cache, read once, read often, mapped or not yet written, and 47 MB of dentries were
//! given up to the last megabyte; 60 MB in `/dev/shm` were not. Reclaimable slabs are told by
//! version 2 only, so that of version 1 the room is somewhat more than what is said.

use std::path::Path;

use super::place::Line;
use crate::{
    decode::{self, cgroup},
    model::source::Why,
    observe::resources::kernel_file::content,
};

/// Bytes that every cgroup of the line leaves; `None`: no limit.
pub(super) fn memory(line: &Line) -> Result<Option<u64>, Why> {
    let room = if line.is_unified { unified_memory } else { memory_of_version_1 };
    tightest(line, room)
}

/// Processes and threads that every cgroup of the line leaves; `None`: no limit.
pub(super) fn pids(line: &Line) -> Result<Option<u64>, Why> {
    tightest(line, |cgroup, _| {
        let Some(limit) = limit(&cgroup.join("pids.max"))? else { return Ok(None) };
        Ok(Some(limit.saturating_sub(number(&cgroup.join("pids.current"))?)))
    })
}

/// How often the kernel killed a process of this cgroup for want of memory, its own limit's or
/// another's; `None`: it does not tell.
pub(super) fn oom_kills(line: &Line) -> Result<Option<u64>, Why> {
    let file = if line.is_unified { "memory.events" } else { "memory.oom_control" };
    let content = present(content(&line.leaf.join(file)))?;
    Ok(content.and_then(|content| cgroup::value(&content, "oom_kill")))
}

fn tightest(
    line: &Line,
    room: impl Fn(&Path, bool) -> Result<Option<u64>, Why>,
) -> Result<Option<u64>, Why> {
    line.upwards().try_fold(None, |tightest: Option<u64>, cgroup| {
        let room = room(cgroup, cgroup == line.leaf)?;
        Ok(tightest.into_iter().chain(room).min())
    })
}

/// Past `memory.high` nobody is killed, but whoever wants memory is held up until it is no more
/// than that, so that a restart would seem to hang: it is a limit like the other.
fn unified_memory(cgroup: &Path, _is_leaf: bool) -> Result<Option<u64>, Why> {
    let limits = [limit(&cgroup.join("memory.max"))?, limit(&cgroup.join("memory.high"))?];
    let Some(limit) = limits.into_iter().flatten().min() else { return Ok(None) };
    let used = number(&cgroup.join("memory.current"))?;
    let stat = content(&cgroup.join("memory.stat"))?;
    // Since Linux 4.11.
    let slabs = cgroup::value(&stat, "slab_reclaimable").unwrap_or_default();
    let cache = files(&stat, ["active_file", "inactive_file"])?;
    Ok(Some(room(limit, used, cache.saturating_add(slabs))))
}

fn memory_of_version_1(cgroup: &Path, is_leaf: bool) -> Result<Option<u64>, Why> {
    let Some(memory) = limit(&cgroup.join("memory.limit_in_bytes"))? else { return Ok(None) };
    // Before Linux 5.11 a cgroup could leave those below it alone.
    if !is_leaf && present(number(&cgroup.join("memory.use_hierarchy")))? == Some(0) {
        return Ok(None);
    }
    let stat = content(&cgroup.join("memory.stat"))?;
    let cache = files(&stat, ["total_active_file", "total_inactive_file"])?;
    let memory = room(memory, number(&cgroup.join("memory.usage_in_bytes"))?, cache);
    // Memory and swap together: what lies in swap already uses up this limit only.
    let Some(both) = limit(&cgroup.join("memory.memsw.limit_in_bytes"))? else {
        return Ok(Some(memory));
    };
    let used = number(&cgroup.join("memory.memsw.usage_in_bytes"))?;
    Ok(Some(memory.min(room(both, used, cache))))
}

/// What is left under a limit if the kernel takes back what it can. Swap is not counted: what only
/// fits there does not fit.
fn room(limit: u64, used: u64, reclaimable: u64) -> u64 {
    // The kernel's sums of pages lag a little behind its count of all that is used.
    limit.saturating_sub(used.saturating_sub(reclaimable))
}

fn files(stat: &[u8], keys: [&str; 2]) -> Result<u64, Why> {
    let sum = keys
        .into_iter()
        .try_fold(0_u64, |sum, key| Some(sum.saturating_add(cgroup::value(stat, key)?)));
    sum.ok_or(Why::Invalid)
}

/// `None` too where the controller is not switched on, or the cgroup is the root.
fn limit(path: &Path) -> Result<Option<u64>, Why> {
    let Some(content) = present(content(path))? else { return Ok(None) };
    cgroup::limit(&content).ok_or(Why::Invalid)
}

fn number(path: &Path) -> Result<u64, Why> {
    decode::number::number(&content(path)?).ok_or(Why::Invalid)
}

fn present<T>(read: Result<T, Why>) -> Result<Option<T>, Why> {
    match read {
        Err(Why::Missing) => Ok(None),
        Err(why) => Err(why),
        Ok(value) => Ok(Some(value)),
    }
}
