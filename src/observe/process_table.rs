//! The process table: rows of `/proc`, read by number and compared by start time.

use std::{fs, io, path::PathBuf};

use procfs::{ProcError, process::Process};
use rustix::{io::Errno, process::test_kill_process};

use crate::{
    decode::process_stat::{ProcessStat, process_stat},
    model::{
        process::{Pid, ProcessId, ProcessState},
        source::Why,
        time::Uptime,
    },
};

/// SIGSEGV in a signal mask.
const SEGV: u64 = 1 << 10;
/// SIGCHLD.
const CHLD: u64 = 1 << 16;
/// What ends a child that a hard restart waits for: SIGHUP, SIGKILL, SIGTERM.
const DEADLY: u64 = 1 << 0 | 1 << 8 | 1 << 14;

/// TRAP, ALRM, VTALRM, PROF and IO: what OpenSSL catches, with nearly all others, while it asks at
/// a terminal, to restore that whatever comes (`ui_openssl.c`, `pushsig`). httpd catches none.
const OF_A_TERMINAL: u64 = 1 << 4 | 1 << 13 | 1 << 25 | 1 << 26 | 1 << 28;

/// Whether who catches these signals asks for a pass phrase at a terminal.
#[must_use]
pub const fn asks_at_terminal(caught: u64) -> bool {
    caught & OF_A_TERMINAL == OF_A_TERMINAL
}

/// A mounted procfs.
#[derive(Clone, Debug)]
pub struct ProcessTable {
    root: PathBuf,
    ticks_per_second: u64,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub id: ProcessId,
    /// The name, which the process itself may have chosen.
    pub name: Vec<u8>,
    /// How it is.
    pub state: ProcessState,
    /// Its parent's number.
    pub parent: i32,
}

impl ProcessTable {
    /// The process table below `root`, usually `/proc`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, ticks_per_second: rustix::param::clock_ticks_per_second().max(1) }
    }

    /// The row of a process; `Missing` if there is none, `Permission` if `hidepid` hides it.
    pub fn row(&self, pid: Pid) -> Result<Row, Why> {
        let line = fs::read(self.path(pid, "stat")).map_err(|error| {
            let why = why(&error);
            if why == Why::Missing && exists(pid) { Why::Permission } else { why }
        })?;
        let ProcessStat { name, state, parent, start_ticks } =
            process_stat(&line).ok_or(Why::Invalid)?;
        let micros = u128::from(start_ticks) * 1_000_000 / u128::from(self.ticks_per_second);
        let started = Uptime::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        Ok(Row { id: ProcessId { pid, started }, name, state, parent })
    }

    /// Whether the process catches SIGSEGV: httpd's parent does, unless it reads its configuration.
    pub fn catches_crashes(&self, pid: Pid) -> Result<bool, Why> {
        let status = self.process(pid)?.status().map_err(|error| proc_why(&error))?;
        Ok(status.sigcgt & SEGV != 0 && !asks_at_terminal(status.sigcgt))
    }

    /// Whether the process ignores the ends of its children: of httpd's children the cgid daemon
    /// does.
    pub fn ignores_children(&self, pid: Pid) -> Result<bool, Why> {
        let status = self.process(pid)?.status().map_err(|error| proc_why(&error))?;
        Ok(status.sigign & CHLD != 0)
    }

    /// Whether a deadly signal waits for the process to take it: it is stopped, or deep in the
    /// kernel, or frozen.
    pub fn is_doomed(&self, pid: Pid) -> Result<bool, Why> {
        let status = self.process(pid)?.status().map_err(|error| proc_why(&error))?;
        Ok((status.sigpnd | status.shdpnd) & DEADLY != 0)
    }

    /// As whom the process runs.
    pub fn user(&self, pid: Pid) -> Result<u32, Why> {
        // Not the owner of the directory: that is root of a process that may not be dumped.
        self.process(pid)?.status().map(|status| status.euid).map_err(|error| proc_why(&error))
    }

    /// Whether the process has more than one thread.
    pub fn is_threaded(&self, pid: Pid) -> Result<bool, Why> {
        let status = self.process(pid)?.status().map_err(|error| proc_why(&error))?;
        Ok(status.threads > 1)
    }

    /// How often the process gave up a processor or lost one.
    pub fn turns(&self, pid: Pid) -> Result<u64, Why> {
        let status = self.process(pid)?.status().map_err(|error| proc_why(&error))?;
        let (given, taken) = (status.voluntary_ctxt_switches, status.nonvoluntary_ctxt_switches);
        given.zip(taken).map(|(given, taken)| given.saturating_add(taken)).ok_or(Why::Missing)
    }

    /// Whether the process asks for a pass phrase at its terminal.
    #[must_use]
    pub fn reads_terminal(&self, pid: Pid) -> bool {
        let status = self.process(pid).ok().and_then(|process| process.status().ok());
        status.is_some_and(|status| asks_at_terminal(status.sigcgt))
    }

    /// The numbers of a process's children, zombies included.
    pub fn children(&self, parent: Pid) -> Result<Vec<Pid>, Why> {
        let main = self.process(parent)?.task_main_thread().map_err(|error| proc_why(&error))?;
        match main.children() {
            Ok(children) => Ok(children
                .into_iter()
                .filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::new))
                .collect()),
            // A kernel without CONFIG_PROC_CHILDREN.
            Err(ProcError::NotFound(_)) => self.children_by_scan(parent),
            Err(error) => Err(proc_why(&error)),
        }
    }

    /// The number of every process that can be seen.
    pub fn all(&self) -> Result<Vec<Pid>, Why> {
        let entries = fs::read_dir(&self.root).map_err(|error| why(&error))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok().and_then(Pid::new)).collect())
    }

    /// The command line, at most some kilobytes of it.
    pub fn command_line(&self, pid: Pid) -> Result<Vec<u8>, Why> {
        fs::read(self.path(pid, "cmdline")).map_err(|error| why(&error))
    }

    /// A file of this process's directory.
    #[must_use]
    pub fn path(&self, pid: Pid, file: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(file)
    }

    /// The process's directory, held open by the procfs crate.
    pub fn process(&self, pid: Pid) -> Result<Process, Why> {
        let directory = self.root.join(pid.to_string());
        Process::new_with_root(directory).map_err(|error| proc_why(&error))
    }

    fn children_by_scan(&self, parent: Pid) -> Result<Vec<Pid>, Why> {
        let rows = self.all()?.into_iter().filter_map(|pid| self.row(pid).ok());
        let children = rows.filter(|row| row.parent == parent.as_raw());
        Ok(children.map(|row| row.id.pid).collect())
    }
}

/// Whether there is such a process, which the kernel tells also of one that it hides in `/proc`.
fn exists(pid: Pid) -> bool {
    let raw = rustix::process::Pid::from_raw(pid.as_raw());
    raw.is_some_and(|raw| test_kill_process(raw) != Err(Errno::SRCH))
}

/// The closed reason of an I/O error. A process that went away while it was read is missing.
#[must_use]
pub fn why(error: &io::Error) -> Why {
    use io::ErrorKind;
    let kind = error.kind();
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    if kind == ErrorKind::PermissionDenied {
        Why::Permission
    } else if matches!(kind, ErrorKind::NotFound | ErrorKind::UnexpectedEof)
        || number == Some(Errno::SRCH)
    {
        Why::Missing
    } else if matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock) {
        Why::Timeout
    } else if kind == ErrorKind::InvalidData {
        Why::Invalid
    } else if matches!(number, Some(Errno::MFILE | Errno::NFILE)) {
        Why::Limit
    } else {
        Why::Other
    }
}

/// The closed reason of an error of the procfs crate.
#[must_use]
pub fn proc_why(error: &ProcError) -> Why {
    match error {
        ProcError::PermissionDenied(_) => Why::Permission,
        ProcError::NotFound(_) => Why::Missing,
        ProcError::Io(error, _) => why(error),
        ProcError::Incomplete(_) | ProcError::Other(_) | ProcError::InternalError(_) => {
            Why::Invalid
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_it() {
        let table = ProcessTable::new("/proc".into());
        let own = Pid::new(i32::try_from(std::process::id()).unwrap()).unwrap();
        let row = table.row(own).unwrap();
        assert_eq!(row.state, ProcessState::Alive);
        assert!(table.all().unwrap().contains(&own));
        assert!(table.children(Pid::new(row.parent).unwrap()).unwrap().contains(&own));
    }

    #[test]
    fn who_asks_at_a_terminal_catches_nearly_everything() {
        assert!(asks_at_terminal(0x77fb_f4ff), "seen of httpd 2.4.71 with OpenSSL 3.0");
        assert!(!asks_at_terminal(0x0800_46eb), "a parent that runs");
        assert!(!asks_at_terminal(0x0800_4203), "one that reads its configuration");
    }

    #[test]
    fn nobody_is_missing() {
        let table = ProcessTable::new("/proc".into());
        assert_eq!(table.row(Pid::new(i32::MAX).unwrap()), Err(Why::Missing));
    }
}
