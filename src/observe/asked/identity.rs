//! In which world a process lives: whether the paths that it names are paths here.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    model::{process::ProcessId, source::Why},
    observe::process_table::{ProcessTable, why},
};

/// Namespaces, root directory and program of a process, each as device and inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its mount namespace.
    pub mounts: (u64, u64),
    /// Its user namespace.
    pub users: (u64, u64),
    /// Its root directory.
    pub root: (u64, u64),
    /// Its executable file.
    pub executable: (u64, u64),
    /// The path of that file, as the kernel tells it.
    pub executable_path: Vec<u8>,
}

impl Identity {
    /// Reads a process's; `Permission` where it is neither one's own nor one's to trace.
    pub fn of(table: &ProcessTable, process: ProcessId) -> Result<Self, Why> {
        let identity = Self::at(&table.path(process.pid, "")).map_err(|error| why(&error))?;
        // The number may have changed hands meanwhile.
        if table.row(process.pid)?.id == process { Ok(identity) } else { Err(Why::Missing) }
    }

    /// Reads this process's own.
    pub fn own() -> io::Result<Self> {
        Self::at(Path::new("/proc/self"))
    }

    fn at(process: &Path) -> io::Result<Self> {
        Ok(Self {
            mounts: number(&process.join("ns/mnt"))?,
            users: number(&process.join("ns/user"))?,
            root: number(&process.join("root"))?,
            executable: number(&process.join("exe"))?,
            executable_path: fs::read_link(process.join("exe"))?.as_os_str().as_bytes().to_vec(),
        })
    }

    /// It runs this file, or did until an upgrade put another one in its place.
    #[must_use]
    pub fn runs(&self, program: &Path) -> bool {
        let path = Path::new(OsStr::from_bytes(&self.executable_path));
        number(program).is_ok_and(|program| program == self.executable)
            || undeleted(path).as_deref() == Some(program)
    }
}

/// After an upgrade the new program has the name of the old one, which is deleted.
pub(super) fn undeleted(file: &Path) -> Option<PathBuf> {
    let name = file.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
    Some(OsStr::from_bytes(name).into())
}

fn number(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|it| (it.dev(), it.ino()))
}

/// A process has the mounts and the root directory of this one, which everybody may read: no two
/// mounts have the same number, in whatever namespace. `None` if it cannot be told.
pub(super) fn has_own_mounts(table: &ProcessTable, process: ProcessId) -> Option<bool> {
    let theirs = root_mount(&fs::read(table.path(process.pid, "mountinfo")).ok()?)?;
    let own = root_mount(&fs::read("/proc/self/mountinfo").ok()?)?;
    Some(theirs == own)
}

/// The number of the mount at `/`; the last one hides those before it.
fn root_mount(mounts: &[u8]) -> Option<Vec<u8>> {
    let lines = mounts.split(|byte| *byte == b'\n');
    let mut at_root = lines.filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = fields.next()?;
        (fields.nth(3)? == b"/").then(|| number.to_owned())
    });
    at_root.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{process::Pid, time::Uptime};

    #[test]
    fn this_process_lives_where_it_lives() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let id = table.row(own).unwrap().id;
        let identity = Identity::of(&table, id).unwrap();
        assert_eq!(identity, Identity::own().unwrap());
        assert!(identity.runs(&std::env::current_exe().unwrap()));
        assert!(!identity.runs(Path::new("/bin/sh")));
        assert_eq!(has_own_mounts(&table, id), Some(true));
        let earlier = ProcessId { started: Uptime::from_micros(1), ..id };
        assert_eq!(Identity::of(&table, earlier), Err(Why::Missing));
    }

    #[test]
    fn a_program_that_an_upgrade_replaced_is_the_same_one() {
        let mut identity = Identity::own().unwrap();
        identity.executable = (0, 0);
        identity.executable_path = b"/usr/sbin/apache2 (deleted)".to_vec();
        assert!(identity.runs(Path::new("/usr/sbin/apache2")));
        assert!(!identity.runs(Path::new("/usr/sbin/httpd")));
        identity.executable_path = b"/usr/sbin/apache2".to_vec();
        assert!(!identity.runs(Path::new("/usr/sbin/apache2")), "of another mount");
    }

    #[test]
    fn the_mount_at_the_root_is_told_from_others() {
        let mounts = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(root_mount(mounts), Some(b"21".to_vec()));
        assert_eq!(root_mount(b"22 21 0:5 / /proc rw - proc proc rw\n"), None, "a chroot");
    }
}
