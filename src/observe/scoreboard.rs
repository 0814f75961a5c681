//! The scoreboard, asked of the reading process.

use std::{
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use super::{
    asked::Surroundings,
    error_log::{client::LogReader, message},
    reader::{Answer, Given, Pace, Request, Wanted, send, take_frame},
};
use crate::model::{
    files::{MappedFile, OpenLog},
    process::ProcessId,
    resources::{Rollup, SharedMemory},
    scoreboard::{Scoreboard, ShowRequests},
    snapshot::Part,
    source::Why,
    time::Timestamp,
};

/// A look must not wait longer for one source.
const PATIENCE: Duration = Duration::from_secs(2);
/// Once an answer is overdue, later looks only see whether it has come.
const GLANCE: Duration = Duration::from_millis(10);

/// The reading process, seen from the watching one.
#[derive(Debug)]
pub struct ScoreboardReader {
    stream: UnixStream,
    process: Child,
    serial: u64,
    overdue: bool,
    show: ShowRequests,
    /// What has come of an answer, so that one which was too late in the middle is not lost.
    partial: Vec<u8>,
}

impl ScoreboardReader {
    /// Starts the reading process, one socket for scoreboards and one for error logs. To be called
    /// while this process still has its privileges.
    pub fn start(procfs: &Path) -> io::Result<(Self, LogReader)> {
        Self::start_program(Path::new("/proc/self/exe"), procfs)
    }

    /// Starts it from this executable file of the same program; an error is one of starting it.
    pub fn start_program(program: &Path, procfs: &Path) -> io::Result<(Self, LogReader)> {
        let (own, other) = UnixStream::pair()?;
        own.set_write_timeout(Some(PATIENCE))?;
        let (logs, others_logs) = message::pair()?;
        #[expect(clippy::disallowed_methods, reason = "this program itself, nothing else")]
        let process = Command::new(program)
            .arg0("gracekeeper")
            .arg("reader")
            .arg("--path.procfs")
            .arg(procfs)
            .env_clear()
            .stdin(OwnedFd::from(other))
            .stdout(others_logs)
            // prefork signals its whole process group, which must not be ours.
            .process_group(0)
            .spawn()?;
        let (show, partial) = (ShowRequests::Off, Vec::new());
        let reader = Self { stream: own, process, serial: 0, overdue: false, show, partial };
        Ok((reader, LogReader::new(logs)?))
    }

    /// What of old children's requests is asked for from now on; at first nothing.
    pub const fn show_requests(&mut self, show: ShowRequests) {
        self.show = show;
    }

    /// Asks for a parent's scoreboard.
    pub fn read(&mut self, parent: ProcessId) -> Part<Scoreboard> {
        let given = self.give(parent, Wanted::Scoreboard(self.show)).and_then(|given| {
            let Given::Scoreboard(board) = given else { return Err(Why::Other) };
            board
        });
        given.map_or_else(Part::Unseen, Part::Seen)
    }

    /// Asks for what only the reading process may see of where a parent runs: its environment, at
    /// most [`super::environment::LONGEST`] bytes, and its namespaces. What it may not see either is
    /// left out; an error is one of the way to it.
    pub fn environment(&mut self, parent: ProcessId) -> Result<Surroundings, Why> {
        let given = self.give(parent, Wanted::Environment)?;
        let Given::Environment(environment) = given else { return Err(Why::Other) };
        let given = self.give(parent, Wanted::Identity)?;
        let Given::Identity(identity) = given else { return Err(Why::Other) };
        Ok(Surroundings { environment: environment.ok(), identity: identity.ok() })
    }

    /// Asks how much memory these processes use, the most wanted first; those that are gone, and
    /// those that there is no time for, are left out.
    pub fn memory(
        &mut self,
        parent: ProcessId,
        processes: Vec<ProcessId>,
        pace: Pace,
    ) -> Result<Vec<(ProcessId, Rollup)>, Why> {
        let given = self.give(parent, Wanted::Memory(processes, pace))?;
        let Given::Memory(memory) = given else { return Err(Why::Other) };
        memory
    }

    /// Asks for the inodes of a parent's sockets.
    pub fn sockets(&mut self, parent: ProcessId) -> Result<Vec<u64>, Why> {
        let given = self.give(parent, Wanted::Sockets)?;
        let Given::Sockets(inodes) = given else { return Err(Why::Other) };
        inodes
    }

    /// Asks how much shared memory a parent has.
    pub fn shared_memory(&mut self, parent: ProcessId) -> Result<SharedMemory, Why> {
        let given = self.give(parent, Wanted::SharedMemory)?;
        let Given::SharedMemory(shared) = given else { return Err(Why::Other) };
        shared
    }

    /// Asks whether a parent has the IPC namespace of the reading process.
    pub fn has_own_ipc(&mut self, parent: ProcessId) -> Result<bool, Why> {
        let given = self.give(parent, Wanted::IpcNamespace)?;
        let Given::IpcNamespace(is_own) = given else { return Err(Why::Other) };
        is_own
    }

    /// Asks for the programs and libraries that a parent runs. `loaded` is when it last loaded its
    /// modules: what was written into them since is not what it loaded.
    pub fn mapped_files(
        &mut self,
        parent: ProcessId,
        loaded: Timestamp,
    ) -> Result<Vec<MappedFile>, Why> {
        let given = self.give(parent, Wanted::MappedFiles(loaded))?;
        let Given::MappedFiles(files) = given else { return Err(Why::Other) };
        files
    }

    /// Asks for the logs that these processes have open, the most wanted first; those that are
    /// gone, and those that there is no time for, are left out.
    pub fn open_logs(
        &mut self,
        parent: ProcessId,
        processes: Vec<ProcessId>,
    ) -> Result<Vec<(ProcessId, Vec<OpenLog>)>, Why> {
        let given = self.give(parent, Wanted::OpenLogs(processes))?;
        let Given::OpenLogs(logs) = given else { return Err(Why::Other) };
        logs
    }

    fn give(&mut self, parent: ProcessId, wanted: Wanted) -> Result<Given, Why> {
        self.try_give(parent, wanted).map_err(|error| {
            let is_late = is_timeout(&error);
            self.overdue |= is_late;
            if is_late { Why::Timeout } else { Why::Other }
        })
    }

    fn try_give(&mut self, parent: ProcessId, wanted: Wanted) -> io::Result<Given> {
        if self.overdue {
            self.stream.set_read_timeout(Some(GLANCE))?;
            self.answer()?;
            self.overdue = false;
        }
        self.serial += 1;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        send(&mut self.stream, &Request { serial: self.serial, parent, wanted })?;
        loop {
            let answer = self.answer()?;
            if answer.serial == self.serial {
                return Ok(answer.given);
            }
        }
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut chunk = [0; 16 << 10];
        loop {
            if let Some(answer) = take_frame(&mut self.partial)? {
                return Ok(answer);
            }
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(io::Error::other("the reading process has ended"));
            }
            self.partial.extend(chunk.iter().take(read));
        }
    }
}

impl Drop for ScoreboardReader {
    fn drop(&mut self) {
        // It ends when its socket closes; it must not outlive this process as a zombie.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
