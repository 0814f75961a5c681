//! The scoreboard, asked of the reading process.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::reader::{Answer, Request, receive, send};
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
}

impl ScoreboardReader {
    /// Starts the reading process. To be called while this process still has its privileges.
    pub fn start(procfs: &Path) -> io::Result<Self> {
        let (own, other) = UnixStream::pair()?;
        own.set_write_timeout(Some(PATIENCE))?;
        #[expect(clippy::disallowed_methods, reason = "this program itself, nothing else")]
        let process = Command::new("/proc/self/exe")
            .arg0("gracekeeper")
            .arg("reader")
            .arg("--path.procfs")
            .arg(procfs)
            .env_clear()
            .stdin(OwnedFd::from(other))
            .stdout(Stdio::null())
            // prefork signals its whole process group, which must not be ours.
            .process_group(0)
            .spawn()?;
        Ok(Self { stream: own, process, serial: 0, overdue: false })
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
        let ended = || io::Error::other("the reading process has ended");
        receive(&mut self.stream)?.ok_or_else(ended)
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
