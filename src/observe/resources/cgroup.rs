//! What the parent's cgroups allow, of version 1 and 2.
//!
//! A controller is either in a hierarchy of version 1 or in that of version 2; hosts mix both. Each
//! cgroup up to the root of what is mounted here has a say, and the tightest one counts.

mod place;
mod rooms;

use std::{collections::BTreeMap, fs::Metadata, os::unix::fs::MetadataExt as _, time::Duration};

use self::place::{Line, Places};
use super::{
    Mounts, ResourceInstruments, Tree,
    kernel_file::content,
    paced::{PACE, Paced},
};
use crate::{
    decode::cgroup,
    model::{
        headroom::Pressure, process::Pid, resources::CgroupSample, snapshot::Part, source::Why,
        time::Moment,
    },
    observe::process_table,
};

/// Mounts seldom change, and there may be thousands of them.
const MOUNTS_PACE: Duration = Duration::from_secs(60);

/// Reads the cgroups of a server's parent.
#[derive(Debug, Default)]
pub(super) struct CgroupObserver {
    /// What `/proc/PARENT/cgroup` said, and where that is.
    places: Paced<(Vec<u8>, Places)>,
    sample: Paced<Part<CgroupSample>>,
}

impl CgroupObserver {
    /// One look.
    pub(super) fn look(
        &mut self,
        tree: &Tree<'_>,
        instruments: &mut ResourceInstruments<'_>,
    ) -> Part<CgroupSample> {
        self.sample(tree.at, tree.parent.pid, instruments.host.mounts())
    }

    pub(super) fn sample(
        &mut self,
        at: Moment,
        parent: Pid,
        mounts: &Mounts,
    ) -> Part<CgroupSample> {
        let read = || {
            let read = read(&mut self.places, at, parent, mounts);
            read.map_or_else(Part::Unseen, Part::Seen)
        };
        self.sample.get(at, PACE, read).clone()
    }
}

fn read(
    places: &mut Paced<(Vec<u8>, Places)>,
    at: Moment,
    parent: Pid,
    mounts: &Mounts,
) -> Result<CgroupSample, Why> {
    let content = content(&mounts.procfs.join(parent.to_string()).join("cgroup"))?;
    if let Some((known, found)) = places.latest()
        && *known == content
    {
        let sample = sample(found);
        if sample.is_ok() || places.fresh(at, MOUNTS_PACE).is_some() {
            return sample;
        }
    }
    let found = Places::find(&content, mounts);
    sample(&places.keep(at, (content, found)).1)
}

/// What these cgroups allow and have counted.
fn sample(places: &Places) -> Result<CgroupSample, Why> {
    let memory = places.memory.as_ref().map_err(|why| *why)?.as_ref();
    let pids = places.pids.as_ref().map_err(|why| *why)?.as_ref();
    // Of version 2 alone only pressure is wanted, which not every kernel tells.
    let unified = places.unified.as_ref().ok().and_then(Option::as_ref);
    Ok(CgroupSample {
        identity: [identity(memory)?, identity(unified).unwrap_or_default()],
        memory_headroom: memory.map(rooms::memory).transpose()?.flatten(),
        pids_headroom: pids.map(rooms::pids).transpose()?.flatten(),
        oom_kills: memory.map(rooms::oom_kills).transpose()?.flatten(),
        pressure: unified.map(pressure).unwrap_or_default(),
    })
}

/// The number of the cgroup's directory; 0 where there is none.
fn identity(line: Option<&Line>) -> Result<u64, Why> {
    let Some(line) = line else { return Ok(0) };
    let found = std::fs::metadata(&line.leaf);
    found.as_ref().map(Metadata::ino).map_err(process_table::why)
}

fn pressure(line: &Line) -> BTreeMap<Pressure, u64> {
    let told = Pressure::ALL.iter().filter_map(|it| {
        let content = content(&line.leaf.join(format!("{}.pressure", it.label()))).ok()?;
        Some((*it, cgroup::stalled(&content)?))
    });
    told.collect()
}

#[cfg(test)]
mod tests;
