//! Our own process group: prefork signals its whole one, which must not be ours.

use nix::unistd::{Pid as RawPid, getpgid, getpgrp, getpid, setpgid};

use crate::model::process::Pid;

/// Leaves the process group of an httpd's parent, if this process is in it.
///
/// A group that was founded outside of this PID namespace has the number 0, which rustix does not
/// expect; of two such it is not told whether they are one, and leaving is harmless.
pub fn leave_group_of(parent: Pid) {
    let parent = RawPid::from_raw(parent.as_raw());
    if getpgid(Some(parent)).is_ok_and(|group| group == getpgrp()) && getpgrp() != getpid() {
        // A session leader cannot, and its group cannot be httpd's either.
        let own = RawPid::from_raw(0);
        let _ = setpgid(own, own);
    }
}
