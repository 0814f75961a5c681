//! What the whole host has: memory, process numbers, pressure, sensors. Read once for all servers.

mod sensors;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::sensors::Sensors;
use super::{
    Tree,
    ipc::Tables,
    kernel_file::content,
    paced::{PACE, Paced},
    sockets::{Diagnosis, dropped},
};
use crate::{
    decode::{cgroup, number::number},
    model::{
        headroom::Pressure,
        resources::{HostSample, NetnsDrops},
        snapshot::Part,
        source::Why,
        time::Moment,
    },
};

/// Where the kernel's file systems are mounted.
#[derive(Clone, Debug)]
pub struct Mounts {
    /// procfs, usually `/proc`.
    pub procfs: PathBuf,
    /// sysfs, usually `/sys`.
    pub sysfs: PathBuf,
}

/// Reads what all servers share.
#[derive(Debug)]
pub struct HostObserver {
    mounts: Mounts,
    sample: Paced<Part<HostSample>>,
    sensors: Sensors,
    netns: Paced<Result<NetnsDrops, Why>>,
    tables: Paced<Result<Arc<Tables>, Why>>,
    /// Listening sockets.
    pub(super) diagnosis: Diagnosis,
}

impl HostObserver {
    /// A host that was not looked at yet.
    #[must_use]
    pub const fn new(mounts: Mounts) -> Self {
        Self {
            mounts,
            sample: Paced::new(),
            sensors: Sensors::new(),
            netns: Paced::new(),
            tables: Paced::new(),
            diagnosis: Diagnosis::new(),
        }
    }

    /// Where the kernel's file systems are mounted.
    #[must_use]
    pub const fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    /// The System V objects of this IPC namespace.
    pub(super) fn tables(&mut self, at: Moment) -> Result<Arc<Tables>, Why> {
        let read = || Tables::read(&self.mounts).map(Arc::new);
        self.tables.get(at, PACE, read).clone()
    }

    /// What the host has in this look at a server. Sensors are read only where a restart heats:
    /// some take milliseconds to answer.
    pub fn sample(&mut self, tree: &Tree<'_>) -> Part<HostSample> {
        let temperature = tree.heats.then(|| self.sensors.hottest(tree.at, &self.mounts.sysfs));
        let read = || read(&self.mounts.procfs).map_or_else(Part::Unseen, Part::Seen);
        match self.sample.get(tree.at, PACE, read) {
            Part::Seen(sample) => {
                let netns = self.diagnosis.netns();
                let temperature = temperature.flatten();
                Part::Seen(HostSample { temperature, netns, ..sample.clone() })
            }
            Part::Unseen(why) => Part::Unseen(*why),
        }
    }

    /// What was dropped at any listener since the network namespace was made.
    pub fn netns_drops(&mut self, at: Moment) -> Result<NetnsDrops, Why> {
        *self.netns.get(at, PACE, || dropped(&self.mounts.procfs))
    }
}

fn read(procfs: &Path) -> Result<HostSample, Why> {
    let memory = content(&procfs.join("meminfo"))?;
    // Since Linux 3.14.
    let available = cgroup::value(&memory, "MemAvailable:");
    Ok(HostSample {
        memory_available: available.map(|kilobytes| kilobytes.saturating_mul(1024)),
        pids_available: pids(procfs),
        pressure: pressure(procfs),
        temperature: None,
        netns: None,
    })
}

/// Both limits hold for threads as for processes. How many a user may have (`RLIMIT_NPROC`) is not
/// looked at: httpd's parent, as root, forks beyond it, and to count a user's threads is to read
/// every process.
fn pids(procfs: &Path) -> Option<u64> {
    let limit = |file: &str| number(&content(&procfs.join(file)).ok()?);
    let limit = limit("sys/kernel/pid_max")?.min(limit("sys/kernel/threads-max")?);
    // `1.40 1.11 0.94 1/92 19352`: one of 92 tasks runs.
    let load = content(&procfs.join("loadavg")).ok()?;
    let tasks = std::str::from_utf8(&load).ok()?.split_ascii_whitespace().nth(3)?;
    let (_, tasks) = tasks.split_once('/')?;
    Some(limit.saturating_sub(tasks.parse().ok()?))
}

fn pressure(procfs: &Path) -> BTreeMap<Pressure, u64> {
    let told = Pressure::ALL.iter().filter_map(|it| {
        let content = content(&procfs.join("pressure").join(it.label())).ok()?;
        Some((*it, cgroup::stalled(&content)?))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use tempfile::TempDir;

    use super::*;
    use crate::model::{
        process::{Pid, ProcessId},
        time::{Timestamp, Uptime},
    };

    fn host() -> (TempDir, HostObserver) {
        let root = TempDir::new().unwrap();
        let files = [
            ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    96 kB\n"),
            ("proc/loadavg", "0.1 0.1 0.1 1/100 4711\n"),
            ("proc/sys/kernel/pid_max", "32768\n"),
            ("proc/sys/kernel/threads-max", "1000\n"),
            ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=17\n"),
            ("proc/pressure/io", "nonsense\n"),
            ("sys/class/thermal/thermal_zone0/temp", "-2000\n"),
            ("sys/class/thermal/thermal_zone1/temp", "none\n"),
            ("sys/class/hwmon/hwmon0/temp1_input", "61500\n"),
            ("sys/class/hwmon/hwmon0/temp1_max", "99000\n"),
            ("sys/class/hwmon/hwmon0/in0_input", "98000\n"),
        ];
        for (file, content) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let mounts = Mounts { procfs: root.path().join("proc"), sysfs: root.path().join("sys") };
        (root, HostObserver::new(mounts))
    }

    fn tree(at: u64, heats: bool) -> Tree<'static> {
        let uptime = Uptime::from_micros(at * 1_000_000);
        Tree {
            at: Moment { uptime, wall: Timestamp::default() },
            parent: ProcessId { pid: Pid::new(1).unwrap(), started: Uptime::default() },
            children: &[],
            overlaps: true,
            heats,
            settings: None,
        }
    }

    #[test]
    fn the_tighter_limit_of_process_numbers_counts() {
        let (root, mut host) = host();
        let sample = host.sample(&tree(1000, false)).seen().cloned().unwrap();
        assert_eq!(sample.memory_available, Some(96 << 10));
        assert_eq!(sample.pids_available, Some(900));
        assert_eq!(sample.pressure, BTreeMap::from([(Pressure::Cpu, 17)]));
        fs::write(root.path().join("proc/sys/kernel/pid_max"), "90\n").unwrap();
        fs::write(root.path().join("proc/meminfo"), "MemTotal: 9 kB\n").unwrap();
        let sample = host.sample(&tree(1001, false)).seen().cloned().unwrap();
        assert_eq!((sample.pids_available, sample.memory_available), (Some(0), None));
    }

    #[test]
    fn the_hottest_sensor_is_read_while_a_restart_heats() {
        let (root, mut host) = host();
        let temperature = |host: &mut HostObserver, tree: &Tree<'_>| {
            host.sample(tree).seen().cloned().unwrap().temperature
        };
        assert_eq!(temperature(&mut host, &tree(1000, false)), None, "a drain alone heats not");
        assert_eq!(temperature(&mut host, &tree(1000, true)), Some(61_500));
        fs::remove_file(root.path().join("sys/class/hwmon/hwmon0/temp1_input")).unwrap();
        assert_eq!(temperature(&mut host, &tree(1001, true)), Some(-2000));
    }

    #[test]
    fn what_was_dropped_is_read_once_in_a_while() {
        let (root, mut host) = host();
        let at = |millis| tree(1000, false).at.after(Duration::from_millis(millis));
        assert_eq!(host.netns_drops(at(0)), Err(Why::Missing));
        let netstat = root.path().join("proc/self/net/netstat");
        fs::create_dir_all(netstat.parent().unwrap()).unwrap();
        fs::write(&netstat, "TcpExt: ListenOverflows ListenDrops\nTcpExt: 3 4\n").unwrap();
        assert_eq!(host.netns_drops(at(899)), Err(Why::Missing));
        assert_eq!(host.netns_drops(at(900)), Ok(NetnsDrops { overflows: 3, drops: 4 }));
        fs::write(&netstat, "nonsense").unwrap();
        assert_eq!(host.netns_drops(at(1800)), Err(Why::Invalid));
    }

    #[test]
    fn a_host_that_cannot_be_read_is_unseen() {
        let (root, mut host) = host();
        fs::remove_file(root.path().join("proc/meminfo")).unwrap();
        assert_eq!(host.sample(&tree(1000, false)), Part::Unseen(Why::Missing));
        fs::remove_dir_all(root.path().join("proc")).unwrap();
        assert_eq!(host.sample(&tree(1001, true)), Part::Unseen(Why::Missing));
    }
}
