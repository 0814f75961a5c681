//! Where the cgroups of a process are seen from here.

use std::path::{Component, Path, PathBuf};

use crate::{
    decode::cgroup::{CgroupMount, Membership, cgroup_mounts, memberships},
    model::source::Why,
    observe::resources::{Mounts, kernel_file::content},
};

/// Where sysfs is in the mounts that the kernel lists.
const SYSFS: &str = "/sys";
/// Cgroups above each other that are looked at: each takes some files in each look, and who has a
/// part of the tree may nest as many as he likes.
const DEEPEST: usize = 32;

/// A cgroup and those above it, as directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The cgroup itself.
    pub(super) leaf: PathBuf,
    /// The uppermost that is seen here.
    top: PathBuf,
    /// It is of version 2.
    pub(super) is_unified: bool,
}

impl Line {
    /// Itself first, the uppermost last.
    pub(super) fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.leaf.ancestors().take_while(|it| it.starts_with(&self.top))
    }
}

/// The cgroup of each controller; `None` where none has it, an error where it cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) memory: Result<Option<Line>, Why>,
    pub(super) pids: Result<Option<Line>, Why>,
    /// Of version 2, with whichever controllers.
    pub(super) unified: Result<Option<Line>, Why>,
}

impl Places {
    /// Finds the cgroups that `/proc/PID/cgroup` names.
    pub(super) fn find(content: &[u8], mounts: &Mounts) -> Self {
        let found: Vec<Membership<'_>> = memberships(content).collect();
        let mounted = Mounted::read(mounts);
        let unified = found.iter().find(|it| it.is_unified());
        let unified = unified.map(|it| mounted.line(it, None)).transpose();
        let controller = |name: &str| match found.iter().find(|it| it.has(name)) {
            Some(membership) => mounted.line(membership, Some(name)).map(Some),
            None => unified.clone(),
        };
        Self { memory: controller("memory"), pids: controller("pids"), unified }
    }
}

/// Every mount of cgroups that gracekeeper sees.
struct Mounted<'a> {
    mounts: &'a Mounts,
    /// `None`: the kernel's list cannot be read.
    found: Option<Vec<CgroupMount>>,
}

impl<'a> Mounted<'a> {
    fn read(mounts: &'a Mounts) -> Self {
        let content = content(&mounts.procfs.join("self/mountinfo")).ok();
        let found = content.map(|content| {
            let mut found: Vec<CgroupMount> = Vec::new();
            for mount in cgroup_mounts(&content) {
                // What is mounted over another one, as in a container, hides it.
                found.retain(|earlier| earlier.point != mount.point);
                found.push(mount);
            }
            found
        });
        Self { mounts, found }
    }

    /// Where the cgroup is: of a controller of version 1, else of version 2.
    fn line(&self, membership: &Membership<'_>, controller: Option<&str>) -> Result<Line, Why> {
        let mounts = match &self.found {
            Some(found) => found.clone(),
            None => self.usual(controller),
        };
        let mounts = mounts.into_iter().filter(|it| match controller {
            Some(name) => it.has(name),
            None => it.is_unified(),
        });
        let visible = mounts.filter_map(|mount| {
            let below = membership.path.strip_prefix(&mount.root).ok()?;
            // Outside the cgroup namespace, or of what the mount shows.
            let is_seen = below.components().all(|it| matches!(it, Component::Normal(_)));
            let top = is_seen.then(|| self.point(&mount))?;
            let leaf = if below.as_os_str().is_empty() { top.clone() } else { top.join(below) };
            let line = Line { leaf, top, is_unified: controller.is_none() };
            let is_shallow = line.upwards().nth(DEEPEST).is_none();
            line.leaf.is_dir().then_some((mount, is_shallow.then_some(line)))
        });
        // What an operator named comes first, then what shows most of the cgroups above.
        let best = visible.min_by_key(|(mount, _)| {
            let is_named = mount.point.starts_with(&self.mounts.sysfs);
            (!is_named, mount.root.components().count())
        });
        best.ok_or(Why::Missing)?.1.ok_or(Why::Limit)
    }

    /// The mount point, below the sysfs that an operator named.
    fn point(&self, mount: &CgroupMount) -> PathBuf {
        match mount.point.strip_prefix(SYSFS) {
            Ok(below) if !mount.point.starts_with(&self.mounts.sysfs) => {
                self.mounts.sysfs.join(below)
            }
            Ok(_) | Err(_) => mount.point.clone(),
        }
    }

    /// Where distributions mount them.
    fn usual(&self, controller: Option<&str>) -> Vec<CgroupMount> {
        let root = self.mounts.sysfs.join("fs/cgroup");
        let points = match controller {
            Some(name) => vec![root.join(name)],
            None => vec![root.join("unified"), root],
        };
        // cgroups(7): every cgroup of version 2 has it.
        let is_one = |point: &PathBuf| match controller {
            Some(_) => point.join("cgroup.procs").exists(),
            None => point.join("cgroup.controllers").exists(),
        };
        let points = points.into_iter().filter(is_one);
        points.map(|point| CgroupMount::at(point, controller)).collect()
    }
}
