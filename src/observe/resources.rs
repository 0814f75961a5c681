//! The resources of one server: memory, descriptors, limits, System V objects, listening sockets.
//!
//! All of it costs something, so each part has its own pace and keeps what it saw last.

mod cgroup;
mod descriptors;
mod host;
mod ipc;
mod kernel_file;
mod memory;
mod paced;
mod sockets;

pub use self::host::{HostObserver, Mounts};
use self::{
    cgroup::CgroupObserver, descriptors::DescriptorObserver, ipc::IpcObserver,
    memory::MemoryObserver, sockets::SocketObserver,
};
use super::{process_table::ProcessTable, scoreboard::ScoreboardReader};
use crate::model::{
    process::ProcessId, resources::Resources, settings::ServerSettings, time::Moment,
};

/// A server as one look found it.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// When the look began.
    pub at: Moment,
    /// The parent that lives.
    pub parent: ProcessId,
    /// Its living worker children, of every generation, orphans included.
    pub children: &'a [ProcessId],
    /// A restart is in progress, or an old generation still has children: what is used changes
    /// fast, and its peak is wanted.
    pub overlaps: bool,
    /// A restart is in progress, or was so lately that it still heats.
    pub heats: bool,
    /// What the configuration on disk says, as far as httpd could be asked for its files.
    pub settings: Option<&'a ServerSettings>,
}

/// What is asked.
#[derive(Debug)]
pub struct ResourceInstruments<'a> {
    /// The process table.
    pub table: &'a ProcessTable,
    /// The reading process.
    pub readers: &'a mut ScoreboardReader,
    /// What all servers share.
    pub host: &'a mut HostObserver,
}

/// Reads the resources of one server.
#[derive(Debug, Default)]
pub struct ResourceObserver {
    of: Option<(ProcessId, Observers)>,
}

/// Those of one parent: what was read of another one is not this one's.
#[derive(Debug, Default)]
struct Observers {
    memory: MemoryObserver,
    descriptors: DescriptorObserver,
    cgroup: CgroupObserver,
    ipc: IpcObserver,
    sockets: SocketObserver,
}

impl ResourceObserver {
    /// One look; without a parent nothing is read.
    pub fn look(
        &mut self,
        tree: Option<&Tree<'_>>,
        instruments: &mut ResourceInstruments<'_>,
    ) -> Resources {
        let Some(tree) = tree else {
            self.of = None;
            return Resources::default();
        };
        let own = self.of(tree.parent);
        let (links, sockets) = own.sockets.look(tree, instruments);
        let host = Some(instruments.host.sample(tree));
        Resources {
            memory: Some(own.memory.look(tree, instruments)),
            descriptors: Some(own.descriptors.look(tree, instruments)),
            host,
            cgroup: Some(own.cgroup.look(tree, instruments)),
            ipc: Some(own.ipc.look(tree, instruments)),
            links,
            sockets,
            settings: tree.settings.cloned(),
        }
    }

    fn of(&mut self, parent: ProcessId) -> &mut Observers {
        self.of.take_if(|(known, _)| *known != parent);
        &mut self.of.get_or_insert_with(|| (parent, Observers::default())).1
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{
        process::Pid,
        time::{Timestamp, Uptime},
    };

    #[test]
    fn what_was_read_of_one_parent_is_not_told_of_the_next() {
        let root = tempfile::tempdir().unwrap();
        let mounts = Mounts { procfs: root.path().join("proc"), sysfs: root.path().join("sys") };
        let write = |file: &str, content: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("proc/self/mountinfo", "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 x rw\n");
        for (parent, cgroup, left) in [(7, "old", "3"), (8, "new", "5")] {
            write(&format!("proc/{parent}/cgroup"), &format!("0::/{cgroup}\n"));
            write(&format!("sys/fs/cgroup/{cgroup}/pids.max"), left);
            write(&format!("sys/fs/cgroup/{cgroup}/pids.current"), "0");
        }
        let at = Moment { uptime: Uptime::from_micros(1), wall: Timestamp::default() };
        let mut observer = ResourceObserver::default();
        let mut left = |pid| {
            let pid = Pid::new(pid).unwrap();
            let parent = ProcessId { pid, started: Uptime::default() };
            let sample = observer.of(parent).cgroup.sample(at, pid, &mounts);
            sample.seen().and_then(|sample| sample.pids_headroom)
        };
        assert_eq!(left(7), Some(3));
        write("sys/fs/cgroup/old/pids.max", "9");
        assert_eq!(left(7), Some(3), "not read again so soon");
        assert_eq!(left(8), Some(5), "after a full restart");
        assert_eq!(left(7), Some(9));
    }
}
