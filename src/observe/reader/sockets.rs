//! The inodes of a parent's sockets, from the targets of its descriptors.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

use super::super::process_table::{ProcessTable, why};
use crate::model::{process::ProcessId, source::Why};

/// A parent has two logs for each of its virtual hosts; reading as many takes 0.1 s.
const MOST: usize = 65_536;

/// The inodes of the sockets that the parent has open.
pub(super) fn inodes(table: &ProcessTable, parent: ProcessId) -> Result<Vec<u64>, Why> {
    let descriptors = fs::read_dir(table.path(parent.pid, "fd")).map_err(|error| why(&error))?;
    let mut inodes = Vec::new();
    for (count, descriptor) in descriptors.enumerate() {
        if count >= MOST {
            return Err(Why::Limit);
        }
        let target = descriptor.and_then(|it| fs::read_link(it.path()));
        match target.map_err(|error| why(&error)) {
            Ok(target) => inodes.extend(inode(target.as_os_str())),
            // It was closed meanwhile.
            Err(Why::Missing) => {}
            Err(why) => return Err(why),
        }
    }
    // The number may have changed hands meanwhile.
    if table.row(parent.pid)?.id == parent { Ok(inodes) } else { Err(Why::Missing) }
}

/// `socket:[4711]`.
fn inode(target: &OsStr) -> Option<u64> {
    let number = target.as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _};

    use super::*;
    use crate::model::{process::Pid, time::Uptime};

    #[test]
    fn the_sockets_of_this_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let own = table.row(own).unwrap().id;
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let expected = inode(link.as_os_str()).unwrap();
        assert!(inodes(&table, own).unwrap().contains(&expected));
        let earlier = ProcessId { started: Uptime::from_micros(1), ..own };
        assert_eq!(inodes(&table, earlier), Err(Why::Missing));
    }

    #[test]
    fn what_is_no_socket_has_no_inode() {
        for target in ["pipe:[4711]", "socket:[x]", "socket:[", "/tmp/socket:[1]", "socket:[-1]"] {
            assert_eq!(inode(OsStr::new(target)), None, "{target}");
        }
        assert_eq!(inode(OsStr::new("socket:[4711]")), Some(4711));
    }
}
