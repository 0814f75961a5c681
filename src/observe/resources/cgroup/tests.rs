//! Trees of cgroups as kernels show them.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use tempfile::TempDir;

use super::*;
use crate::model::time::{Timestamp, Uptime};

const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
    32 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
    33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
    34 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
/// 1.5 GiB of cache and a little of slabs.
const STAT: &str = "anon 5000\nfile 2000000000\nkernel 100000\nshmem 300000000\n\
    inactive_anon 0\nactive_anon 5000\ninactive_file 1000000000\nactive_file 610612736\n\
    slab_reclaimable 7000\nslab_unreclaimable 90000\nslab 97000\n";

/// A host that has only these files.
struct Host {
    root: TempDir,
    mounts: Mounts,
    observer: CgroupObserver,
    looks: u64,
}

impl Host {
    fn new(mounts: &str, membership: &str) -> Self {
        let root = TempDir::new().unwrap();
        let mut host = Self {
            mounts: Mounts { procfs: root.path().join("proc"), sysfs: root.path().join("sys") },
            root,
            observer: CgroupObserver::default(),
            looks: 0,
        };
        host.write("proc/self/mountinfo", mounts);
        host.write("proc/7/cgroup", membership);
        host
    }

    fn write(&mut self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn remove(&mut self, file: &str) {
        fs::remove_file(self.root.path().join(file)).unwrap();
    }

    /// A cgroup of version 2.
    fn unified(&mut self, cgroup: &str, max: &str, high: &str, current: &str) {
        let of = |file: &str| format!("sys/fs/cgroup/{cgroup}{file}");
        self.write(&of("memory.max"), max);
        self.write(&of("memory.high"), high);
        self.write(&of("memory.current"), current);
        self.write(&of("memory.stat"), STAT);
        self.write(&of("memory.events"), "low 0\nhigh 4\nmax 9\noom 3\noom_kill 2\n");
        self.write(&of("pids.max"), "max\n");
        self.write(&of("pids.current"), "9\n");
    }

    /// One second after the last one.
    fn look(&mut self) -> Part<CgroupSample> {
        self.looks += 1;
        self.look_after(0)
    }

    fn look_after(&mut self, milliseconds: u64) -> Part<CgroupSample> {
        let uptime = Uptime::from_micros(self.looks * 1_000_000 + milliseconds * 1000);
        let at = Moment { uptime, wall: Timestamp::default() };
        self.observer.sample(at, Pid::new(7).unwrap(), &self.mounts)
    }

    fn seen(&mut self) -> CgroupSample {
        self.look().seen().cloned().unwrap()
    }
}

fn inode(directory: &Path) -> u64 {
    fs::metadata(directory).unwrap().ino()
}

#[test]
fn of_nested_cgroups_the_tightest_counts() {
    let mut host = Host::new(V2, "0::/system.slice/apache2.service\n");
    host.unified("", "max\n", "max\n", "1\n");
    host.unified("system.slice/", "4294967296\n", "max\n", "2147483648\n");
    host.unified("system.slice/apache2.service/", "max\n", "max\n", "1\n");
    // What is used, less 1000000000 + 610612736 + 7000 that the kernel takes back.
    let used = 2_147_483_648 - 1_610_619_736;
    let sample = host.seen();
    assert_eq!(sample.memory_headroom, Some(4_294_967_296 - used));
    assert_eq!((sample.pids_headroom, sample.oom_kills), (None, Some(2)));
    let leaf = host.mounts.sysfs.join("fs/cgroup/system.slice/apache2.service");
    assert_eq!(sample.identity, [inode(&leaf); 2]);

    host.unified("system.slice/apache2.service/", "2000000000\n", "max\n", "2000000000\n");
    assert_eq!(host.seen().memory_headroom, Some(1_610_619_736));
    host.unified("system.slice/apache2.service/", "2000000000\n", "1900000000\n", "2000000000\n");
    assert_eq!(host.seen().memory_headroom, Some(1_510_619_736), "past `high` it is held up");
    host.unified("system.slice/apache2.service/", "2000000000\n", "max\n", "5000000000\n");
    assert_eq!(host.seen().memory_headroom, Some(0), "a limit that was lowered below what is used");
    host.unified("system.slice/apache2.service/", "2000000000\n", "max\n", "1000\n");
    assert_eq!(host.seen().memory_headroom, Some(2_000_000_000), "never more than the limit");

    host.write("sys/fs/cgroup/system.slice/pids.max", "4915\n");
    host.write("sys/fs/cgroup/system.slice/pids.current", "915\n");
    assert_eq!(host.seen().pids_headroom, Some(4000));
    host.write("sys/fs/cgroup/system.slice/apache2.service/pids.max", "8\n");
    assert_eq!(host.seen().pids_headroom, Some(0));
}

#[test]
fn a_controller_that_is_not_switched_on_is_no_limit() {
    let mut host = Host::new(V2, "0::/a/b\n");
    host.write("sys/fs/cgroup/a/b/cgroup.procs", "7\n");
    host.write("sys/fs/cgroup/a/b/cpu.pressure", "some avg10=0.00 total=3\nfull total=1\n");
    host.write("sys/fs/cgroup/a/b/io.pressure", "");
    let sample = host.seen();
    let found = (sample.memory_headroom, sample.pids_headroom, sample.oom_kills);
    assert_eq!(found, (None, None, None));
    assert_eq!(sample.pressure, BTreeMap::from([(Pressure::Cpu, 3)]));
    host.write("sys/fs/cgroup/a/pids.max", "10\n");
    host.write("sys/fs/cgroup/a/pids.current", "4\n");
    assert_eq!(host.seen().pids_headroom, Some(6), "above it is on");
}

#[test]
fn each_controller_is_where_it_is() {
    let membership = "8:pids:/system.slice/a\n4:memory:/web\n0::/system.slice/a\n";
    let mut host = Host::new(HYBRID, membership);
    host.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    for (file, content) in [
        ("limit_in_bytes", "104857600\n"),
        ("usage_in_bytes", "100000000\n"),
        ("memsw.limit_in_bytes", "9223372036854771712\n"),
        ("oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"),
        // Its own lines count the cgroup alone, the totals those below it too.
        (
            "stat",
            "active_file 9\ninactive_file 9\ntotal_active_file 1000\ntotal_inactive_file 30000\n",
        ),
    ] {
        host.write(&format!("sys/fs/cgroup/memory/web/memory.{file}"), content);
    }
    host.write("sys/fs/cgroup/pids/system.slice/a/pids.max", "30\n");
    host.write("sys/fs/cgroup/pids/system.slice/a/pids.current", "10\n");
    host.write("sys/fs/cgroup/unified/system.slice/a/io.pressure", "some total=11\nfull total=9\n");
    let sample = host.seen();
    assert_eq!(sample.memory_headroom, Some(104_857_600 - (100_000_000 - 31_000)));
    assert_eq!((sample.pids_headroom, sample.oom_kills), (Some(20), Some(5)));
    assert_eq!(sample.pressure, BTreeMap::from([(Pressure::Io, 11)]));

    // Some of it is in swap already.
    host.write("sys/fs/cgroup/memory/web/memory.memsw.limit_in_bytes", "110000000\n");
    host.write("sys/fs/cgroup/memory/web/memory.memsw.usage_in_bytes", "109999999\n");
    assert_eq!(host.seen().memory_headroom, Some(31_001));

    host.write("proc/7/cgroup", "8:pids:/\n4:memory:/web/below\n0::/system.slice/a\n");
    host.write("sys/fs/cgroup/memory/web/below/memory.limit_in_bytes", "9223372036854771712\n");
    let sample = host.seen();
    assert_eq!((sample.memory_headroom, sample.pids_headroom), (Some(31_001), None));
    assert_eq!(sample.oom_kills, None, "before Linux 4.13");
    host.write("sys/fs/cgroup/memory/web/memory.use_hierarchy", "0\n");
    assert_eq!(host.seen().memory_headroom, None, "it lets those below it alone");
}

#[test]
fn in_a_container_what_is_mounted_there_counts() {
    // Without a cgroup namespace: the mount shows the container's cgroup, the path is the host's.
    let mounts = "33 31 0:30 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
        34 31 0:31 /docker/c1 /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
    let mut host = Host::new(mounts, "8:pids:/docker/c1\n4:memory:/docker/c1/x\n");
    host.write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
    host.write("sys/fs/cgroup/pids/pids.max", "30\n");
    host.write("sys/fs/cgroup/pids/pids.current", "10\n");
    assert_eq!(host.seen().pids_headroom, Some(20));

    for stranger in [
        "8:pids:/docker/c1\n4:memory:/docker/c2\n",
        "8:pids:/docker/c10\n4:memory:/docker/c1\n",
        "8:pids:/docker/c1\n4:memory:/docker/c1/gone\n",
        "8:pids:/docker/c1\n4:memory:/docker/c1/../c2\n",
    ] {
        host.write("proc/7/cgroup", stranger);
        assert_eq!(host.look(), Part::Unseen(Why::Missing), "{stranger}");
    }
}

#[test]
fn a_cgroup_outside_the_own_namespace_is_missing() {
    let mut host = Host::new(V2, "0::/../httpd\n");
    host.unified("", "1000000000000\n", "max\n", "5\n");
    host.unified("httpd/", "1000000000000\n", "max\n", "5\n");
    assert_eq!(host.look(), Part::Unseen(Why::Missing));
    host.write("proc/7/cgroup", "0::/\n");
    assert_eq!(host.seen().memory_headroom, Some(1_000_000_000_000));

    // Mounts of the host that were there before show more, unless others are mounted over them.
    let whole = "29 23 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    host.write("proc/self/mountinfo", whole);
    host.write("proc/7/cgroup", "0::/../httpd\n");
    assert_eq!(host.seen().memory_headroom, Some(1_000_000_000_000));
    host.write("proc/self/mountinfo", format!("{whole}{V2}"));
    host.write("proc/7/cgroup", "0::/..\n");
    assert_eq!(host.look(), Part::Unseen(Why::Missing));
}

#[test]
fn the_mount_that_an_operator_named_comes_first() {
    let mut host = Host::new("", "0::/\n");
    let named = host.mounts.sysfs.join("fs/cgroup");
    let both = format!(
        "30 1 0:2 / /sys/fs/cgroup rw - cgroup2 x rw\n31 1 0:2 / {} rw - cgroup2 x rw\n",
        named.display()
    );
    host.write("proc/self/mountinfo", both);
    host.unified("", "1000000000000\n", "max\n", "5\n");
    assert_eq!(host.seen().memory_headroom, Some(1_000_000_000_000));
    let elsewhere = host.root.path().join("my cgroups");
    let escaped = elsewhere.display().to_string().replace(' ', "\\040");
    host.write("proc/self/mountinfo", format!("31 1 0:2 / {escaped} rw - cgroup2 x rw\n"));
    host.write("proc/7/cgroup", "0::/a\n");
    host.write("my cgroups/a/pids.max", "3\n");
    host.write("my cgroups/a/pids.current", "1\n");
    assert_eq!(host.seen().pids_headroom, Some(2));
}

#[test]
fn without_a_list_of_mounts_the_usual_places_are_looked_at() {
    let mut host = Host::new("", "0::/a\n");
    host.remove("proc/self/mountinfo");
    assert_eq!(host.look(), Part::Unseen(Why::Missing), "nothing is mounted");
    host.write("sys/fs/cgroup/cgroup.controllers", "memory pids\n");
    host.unified("a/", "1000000000000\n", "max\n", "5\n");
    host.looks += 60;
    assert_eq!(host.seen().memory_headroom, Some(1_000_000_000_000), "mounts are read again");
    host.write("sys/fs/cgroup/memory/cgroup.procs", "");
    host.write("sys/fs/cgroup/memory/b/memory.limit_in_bytes", "9223372036854771712\n");
    host.write("proc/7/cgroup", "4:memory:/b\n0::/a\n");
    assert_eq!(host.seen().memory_headroom, None);
}

#[test]
fn what_is_strange_is_invalid_and_what_is_closed_needs_permission() {
    let invalid: [(&str, &[u8]); 7] = [
        ("memory.max", b"a lot\n"),
        ("memory.high", b""),
        ("memory.current", b"-5\n"),
        ("memory.stat", b"inactive_file 5\n"),
        ("memory.stat", b"\xff\xfe\0\n active_file"),
        ("pids.max", b"99999999999999999999999\n"),
        ("pids.current", b"max\n"),
    ];
    for (file, content) in invalid {
        let mut host = Host::new(V2, "0::/a\n");
        host.unified("a/", "1000000000000\n", "max\n", "5\n");
        host.write("sys/fs/cgroup/a/pids.max", "10\n");
        host.write(&format!("sys/fs/cgroup/a/{file}"), content);
        assert_eq!(host.look(), Part::Unseen(Why::Invalid), "{file}: {content:?}");
    }
    let mut host = Host::new(V2, "");
    host.write("sys/fs/cgroup/a/memory.max", "max\n");
    let sample = host.seen();
    assert_eq!(sample, CgroupSample::default(), "in no cgroup there is no limit");
    host.remove("proc/7/cgroup");
    assert_eq!(host.look(), Part::Unseen(Why::Missing));
    host.write("proc/7/cgroup", "0::/a\n");
    host.write("sys/fs/cgroup/a/memory.events", "oom_kill many\n");
    assert_eq!(host.seen().oom_kills, None);
    if !rustix::process::geteuid().is_root() {
        let closed = host.mounts.sysfs.join("fs/cgroup/a/memory.max");
        fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(host.look(), Part::Unseen(Why::Permission));
    }
}

#[test]
fn a_flood_of_looks_reads_once_in_a_while() {
    let mut host = Host::new(V2, "0::/a\n");
    host.unified("a/", "1000000000000\n", "max\n", "5\n");
    let first = host.look();
    host.write("sys/fs/cgroup/a/memory.max", "2000000000000\n");
    assert_eq!(host.look_after(700), first);
    assert_ne!(host.look(), first);
}
