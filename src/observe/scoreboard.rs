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
    error_log::{client::LogReader, message},
    reader::{Answer, Request, send, take_frame},
};
use crate::model::{process::ProcessId, scoreboard::Scoreboard, snapshot::Part, source::Why};

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
    /// What has come of an answer, so that one which was too late in the middle is not lost.
    partial: Vec<u8>,
}

impl ScoreboardReader {
    /// Starts the reading process, of which nobody will ask error logs.
    pub fn start(procfs: &Path) -> io::Result<Self> {
        Self::start_with_logs(procfs).map(|(scoreboards, _)| scoreboards)
    }

    /// Starts the reading process, one socket for scoreboards and one for error logs. To be called
    /// while this process still has its privileges.
    pub fn start_with_logs(procfs: &Path) -> io::Result<(Self, LogReader)> {
        let (own, other) = UnixStream::pair()?;
        own.set_write_timeout(Some(PATIENCE))?;
        let (logs, others_logs) = message::pair()?;
        #[expect(clippy::disallowed_methods, reason = "this program itself, nothing else")]
        let process = Command::new("/proc/self/exe")
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
        let partial = Vec::new();
        let reader = Self { stream: own, process, serial: 0, overdue: false, partial };
        Ok((reader, LogReader::new(logs)?))
    }

    /// Asks for a parent's scoreboard.
    pub fn read(&mut self, parent: ProcessId) -> Part<Scoreboard> {
        match self.try_read(parent) {
            Ok(Ok(scoreboard)) => Part::Seen(scoreboard),
            Ok(Err(why)) => Part::Unseen(why),
            Err(error) if is_timeout(&error) => {
                self.overdue = true;
                Part::Unseen(Why::Timeout)
            }
            Err(_) => Part::Unseen(Why::Other),
        }
    }

    fn try_read(&mut self, parent: ProcessId) -> io::Result<Result<Scoreboard, Why>> {
        if self.overdue {
            self.stream.set_read_timeout(Some(GLANCE))?;
            self.answer()?;
            self.overdue = false;
        }
        self.serial += 1;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        send(&mut self.stream, &Request { serial: self.serial, parent })?;
        loop {
            let answer = self.answer()?;
            if answer.serial == self.serial {
                return Ok(answer.scoreboard);
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
