//! Where process numbers and the time since boot mean what they meant: one boot of the host, one
//! PID namespace.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use serde::{Deserialize, Serialize};

use crate::decode::process_stat::process_stat;

/// One boot of the host and one PID namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidSpace {
    boot: String,
    namespace: u64,
    /// When its first process started, in clock ticks since boot: the kernel gives the numbers of
    /// namespaces that are gone to new ones. Zero where that process is hidden.
    first_process: u64,
}

impl PidSpace {
    /// The one that `procfs` shows; `None` if it does not tell.
    #[must_use]
    pub fn read(procfs: &Path) -> Option<Self> {
        let boot = fs::read_to_string(procfs.join("sys/kernel/random/boot_id")).ok()?;
        let namespace = fs::metadata(procfs.join("self/ns/pid")).ok()?.ino();
        let first = fs::read(procfs.join("1/stat")).ok();
        let first = first.and_then(|line| process_stat(&line).map(|stat| stat.start_ticks));
        let boot = boot.trim().to_owned();
        Some(Self { boot, namespace, first_process: first.unwrap_or(0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_until_the_next_boot() {
        let space = PidSpace::read(Path::new("/proc")).unwrap();
        assert_eq!(PidSpace::read(Path::new("/proc")), Some(space.clone()));
        assert_ne!(PidSpace { boot: "another".to_owned(), ..space.clone() }, space);
        assert_eq!(PidSpace::read(Path::new("/nonexistent")), None);
    }
}
