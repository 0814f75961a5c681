//! The two system calls that no library wraps in a safe function.
#![allow(unsafe_code, reason = "nowhere else; each block says why it is sound")]

use std::os::fd::AsFd;

use rustix::{
    io::Errno,
    ioctl::{self, Opcode, Updater},
    thread::{UnshareFlags, unshare_unsafe},
};

use crate::model::process::ExitStatus;

/// `struct pidfd_info` of include/uapi/linux/pidfd.h, first published version with an exit code.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    credentials: [u32; 8],
    exit_code: i32,
    coredump_mask: u32,
    spare: u32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
const PIDFS_IOCTL_MAGIC: u8 = 0xff;
const PIDFD_GET_INFO: Opcode = ioctl::opcode::read_write::<PidfdInfo>(PIDFS_IOCTL_MAGIC, 11);

/// How a process ended that is not our child, by `PIDFD_GET_INFO` of kernel 6.15; `None` before it
/// was reaped, and on older kernels.
///
/// The descriptor must have been opened while the process lived.
pub fn exit_status(pidfd: impl AsFd) -> Option<ExitStatus> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the opcode encodes the size of `PidfdInfo`, the kernel writes at most that many
    // bytes, and every bit pattern is a valid `PidfdInfo`.
    let answer = unsafe { ioctl::ioctl(pidfd, Updater::<PIDFD_GET_INFO, _>::new(&mut info)) };
    match answer {
        Ok(()) if info.mask & PIDFD_INFO_EXIT != 0 => Some(ExitStatus::from_wait(info.exit_code)),
        // ESRCH: ended, not reaped; ENOTTY, EINVAL: an older kernel.
        Ok(()) | Err(Errno::SRCH | Errno::NOTTY | Errno::INVAL | _) => None,
    }
}

/// Moves this thread into an empty network namespace, where not even the loopback is up.
pub fn leave_network() -> rustix::io::Result<()> {
    // SAFETY: what makes `unshare` unsafe is CLONE_FILES; CLONE_NEWNET touches no descriptor.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use rustix::{
        event::{PollFd, PollFlags, poll},
        process::{Pid, PidfdFlags, pidfd_open},
    };

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process to look at")]
    fn a_killed_process_tells_its_signal_after_it_was_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert_eq!(exit_status(&pidfd), None, "it lives");
        child.kill().unwrap();
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let known = exit_status(&pidfd);
        assert!(known == Some(ExitStatus::Signal(9)) || known.is_none() && kernel_is_older());
    }

    fn kernel_is_older() -> bool {
        let name = rustix::system::uname();
        let release = name.release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) < (Some(6), Some(15))
    }
}
