//! An httpd of this server that is starting: it has no pid file yet, and no children that serve.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{Instruments, ServerObserver, Target, signature::accepts};
use crate::{
    model::{time::Moment, waiting::Starting},
    observe::{
        discovery::{self, Found, is_trusted},
        pid_file_place,
        process_table::ProcessTable,
        waiting,
    },
};

impl ServerObserver {
    /// The oldest of this server's that has started another program, as a pass phrase dialog is.
    pub(super) fn starting(&self, at: Moment, instruments: &Instruments<'_>) -> Option<Starting> {
        let table = instruments.table;
        let mut own = instruments.starting.iter().filter(|found| self.is_of_this(found, table));
        own.find_map(|found| waiting::starting(found, at.uptime, table))
    }

    /// Whether it will be this server's parent: by its unit, by its signature, or, where nobody has
    /// seen a parent yet, by the pid file that it will write.
    fn is_of_this(&self, found: &Found, table: &ProcessTable) -> bool {
        let Target { unit, signature, pid_file, .. } = &self.target;
        let is_same = match (unit, signature, pid_file) {
            (Some(unit), _, _) => discovery::unit_of(table, found.id).as_ref() == Some(unit),
            (None, Some(signature), _) => found.signature == *signature,
            (None, None, Some(path)) => {
                writes_there(found.signature.owner, path) && pid_file_place::is_of(path, found)
            }
            (None, None, None) => false,
        };
        is_same && accepts(&self.target, found.signature.owner)
    }
}

/// Whether a parent of this user's could write this pid file, or has: anybody may call his program as
/// the server is called, with its configuration or with one of his own that names its pid file.
fn writes_there(owner: u32, pid_file: &Path) -> bool {
    let is_his = |metadata: Metadata| metadata.uid() == owner;
    is_trusted(owner)
        || [Some(pid_file), pid_file.parent()]
            .into_iter()
            .flatten()
            .any(|place| fs::metadata(place).is_ok_and(is_his))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use rustix::process::geteuid;

    use super::*;

    const ANYBODY: u32 = 64_999;

    #[test]
    fn who_could_not_write_the_pid_file_is_not_the_server_that_starts() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("httpd.pid");
        assert!(writes_there(0, &pid_file));
        assert!(writes_there(geteuid().as_raw(), &pid_file));
        assert!(!writes_there(ANYBODY, &pid_file));
        if geteuid().is_root() {
            fs::write(&pid_file, "1\n").unwrap();
            chown(&pid_file, Some(ANYBODY), None).unwrap();
            assert!(writes_there(ANYBODY, &pid_file), "he left it there");
            fs::remove_file(&pid_file).unwrap();
            chown(directory.path(), Some(ANYBODY), None).unwrap();
            assert!(writes_there(ANYBODY, &pid_file));
            assert!(!writes_there(ANYBODY - 1, &pid_file));
        }
    }
}
