//! Cgroups of version 1 that a test makes for a httpd of its own.

use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::geteuid;

use crate::harness::{Httpd, eventually, not_tested};

/// A cgroup of one controller, taken away when dropped, with whoever is still in it sent up.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    /// Below the test's own. `None`, which is said, without the right to make one, or where the
    /// controller is of version 2, whose files the fixtures have.
    pub(super) fn new(controller: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.strip_prefix(controller)?.strip_prefix(":/")
        });
        let Some(own) = own else {
            not_tested(&format!("no cgroup of version 1 has the {controller} controller"));
            return None;
        };
        let above = Path::new("/sys/fs/cgroup").join(controller).join(own);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = above.join(format!("gracekeeper-test-{}-{number}", std::process::id()));
        if !geteuid().is_root() {
            assert!(fs::create_dir(&place).is_err());
            not_tested("nobody but root can make a cgroup");
            return None;
        }
        fs::create_dir(&place).unwrap();
        Some(Self(place))
    }

    /// One inside this one, which must outlive it.
    pub(super) fn inner(&self) -> Self {
        let place = self.0.join("inner");
        fs::create_dir(&place).unwrap();
        Self(place)
    }

    /// Takes all processes of this httpd; who is forked later is born there.
    pub(super) fn take(&self, httpd: &Httpd) {
        for process in httpd.processes() {
            let _: io::Result<()> = fs::write(self.processes(), process.pid().to_string());
        }
    }

    /// Where a process writes 0 to come in.
    pub(super) fn processes(&self) -> PathBuf {
        self.file("cgroup.procs")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    #[track_caller]
    pub(super) fn set(&self, file: &str, value: impl Display) {
        fs::write(self.file(file), value.to_string()).unwrap();
    }

    #[track_caller]
    pub(super) fn number(&self, file: &str) -> u64 {
        fs::read_to_string(self.file(file)).unwrap().trim().parse().unwrap()
    }

    /// The number after a key.
    #[track_caller]
    pub(super) fn value(&self, file: &str, key: &str) -> u64 {
        let text = fs::read_to_string(self.file(file)).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let value = lines.filter(|(found, _)| *found == key).map(|(_, value)| value).next();
        value.unwrap().parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let above = self.0.parent().unwrap().join("cgroup.procs");
        // Who has just ended is in it until it is reaped.
        eventually("the cgroup is empty", || {
            for pid in fs::read_to_string(self.processes()).unwrap_or_default().lines() {
                let _: io::Result<()> = fs::write(&above, pid);
            }
            fs::remove_dir(&self.0).is_ok() || !self.0.exists()
        });
    }
}
