//! Starts programs, each in a process group of its own, and ends them with all that they forked.

mod hearing;

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};

pub use self::hearing::{Heard, Hearing, hear};
use crate::clock;

/// What a program gets to end in order after SIGTERM. httpd itself gives its children some 10 s.
const PATIENCE: Duration = Duration::from_secs(15);

/// A program to be started. It has nothing to read.
#[derive(Debug)]
pub struct Start {
    /// Where it is.
    pub path: PathBuf,
    /// After its name.
    pub arguments: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it writes.
    pub output: Output,
}

/// Where standard output and standard error of a program go.
#[derive(Debug)]
pub enum Output {
    /// Where those of this process go.
    Inherited,
    /// Both to the end of this file.
    File(PathBuf),
}

/// Why a program cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The file for its output cannot be written.
    #[error("write {path}: {source}")]
    Output {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It could not be started.
    #[error("start {path}: {source}")]
    Start {
        /// The program.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It took no signal.
    #[error("signal {path}: {source}")]
    Signal {
        /// The program.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is unknown how it ended.
    #[error("wait for {path}: {source}")]
    Wait {
        /// The program.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It did not end in time, and was ended.
    #[error("wait for {path}: it took longer than {patience:?}")]
    Timeout {
        /// The program.
        path: PathBuf,
        /// What it got.
        patience: Duration,
    },
    /// Nobody wants to know any more; it was ended.
    #[error("wait for {path}: gracekeeper ends")]
    Cancelled {
        /// The program.
        path: PathBuf,
    },
}

/// A program that was started; it ends when this is dropped.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    child: Child,
    pidfd: OwnedFd,
    /// Once it is reaped.
    status: Option<ExitStatus>,
}

impl Program {
    /// Starts it.
    pub fn start(start: Start) -> Result<Self, ProgramError> {
        let Start { path, arguments, environment, output } = start;
        let (stdout, stderr) = output.streams()?;
        #[expect(clippy::disallowed_methods, reason = "this is the starter of programs")]
        let mut command = Command::new(&path);
        command.args(arguments).env_clear().envs(environment).stdout(stdout).stderr(stderr);
        Self::spawn(path, command)
    }

    /// Starts what is all set but for its process group and its standard input.
    fn spawn(path: PathBuf, mut command: Command) -> Result<Self, ProgramError> {
        // prefork signals its whole process group, which must not be ours.
        command.stdin(Stdio::null()).process_group(0);
        let started = command.spawn().and_then(|mut child| {
            // Our own child, not reaped: the pid is still its own.
            match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
                Ok(pidfd) => Ok((child, pidfd)),
                Err(error) => {
                    child.kill()?;
                    child.wait()?;
                    Err(error.into())
                }
            }
        });
        match started {
            Ok((child, pidfd)) => Ok(Self { path, child, pidfd, status: None }),
            Err(source) => Err(ProgramError::Start { path, source }),
        }
    }

    /// Its pid, and its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to it alone; one that has ended takes every signal.
    pub fn signal(&self, signal: Signal) -> Result<(), ProgramError> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => {
                Err(ProgramError::Signal { path: self.path.clone(), source: error.into() })
            }
        }
    }

    /// Waits for its end no longer than this; true: it has ended.
    pub fn ends_within(&self, patience: Duration) -> Result<bool, ProgramError> {
        let deadline = clock::now().after(patience);
        loop {
            let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
            let rest = deadline.since(clock::now());
            match poll(&mut polled, Timespec::try_from(rest).ok().as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.lost(error.into())),
            }
        }
    }

    /// Ends it in order, or by force if it takes too long; whatever is left in its process group
    /// by force. One that has ended already tells how.
    pub fn end(&mut self) -> Result<ExitStatus, ProgramError> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let in_order = self.signal(Signal::TERM).and_then(|()| self.ends_within(PATIENCE));
        let status = self.kill()?;
        in_order?;
        Ok(status)
    }

    /// Ends it and what is left in its process group by force.
    fn kill(&mut self) -> Result<ExitStatus, ProgramError> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // While it is not reaped, no other process group can have its number.
        let forced = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        if let Err(error) = forced
            && error != Errno::SRCH
        {
            return Err(self.lost(error.into()));
        }
        let status = self.child.wait().map_err(|source| self.lost(source))?;
        self.status = Some(status);
        Ok(status)
    }

    fn lost(&self, source: io::Error) -> ProgramError {
        ProgramError::Wait { path: self.path.clone(), source }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Whoever wants to know how it ended has asked before.
        drop(self.end());
    }
}

impl Output {
    fn streams(self) -> Result<(Stdio, Stdio), ProgramError> {
        match self {
            Self::Inherited => Ok((Stdio::inherit(), Stdio::inherit())),
            Self::File(path) => {
                let file = File::options().create(true).append(true).open(&path);
                let both = file.and_then(|file| Ok((file.try_clone()?.into(), file.into())));
                both.map_err(|source| ProgramError::Output { path, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, output: Output) -> Program {
        let arguments = vec!["-c".into(), script.into()];
        let path = "/bin/sh".into();
        Program::start(Start { path, arguments, environment: Vec::new(), output }).unwrap()
    }

    #[test]
    fn what_is_not_there_is_named() {
        let start = Start {
            path: "/nowhere/httpd".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            output: Output::Inherited,
        };
        let error = Program::start(start).unwrap_err().to_string();
        assert!(error.starts_with("start /nowhere/httpd: No such file"), "{error}");
    }

    #[test]
    fn one_that_ended_by_itself_tells_how() {
        let mut program = shell("exit 3", Output::Inherited);
        assert!(program.ends_within(Duration::from_secs(30)).unwrap());
        assert_eq!(program.end().unwrap().code(), Some(3));
        assert_eq!(program.end().unwrap().code(), Some(3));
    }

    #[test]
    fn its_whole_process_group_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("output");
        let script = "trap '' TERM; sleep 1000 & echo $!; trap 'exit 0' TERM; kill -STOP $$; wait";
        let program = shell(script, Output::File(file.clone()));
        let written = || std::fs::read_to_string(&file).unwrap();
        while !written().ends_with('\n') {
            assert!(!program.ends_within(Duration::from_millis(1)).unwrap());
        }
        program.signal(Signal::CONT).unwrap();
        let left = written().trim().parse().ok().and_then(Pid::from_raw).unwrap();
        let left = pidfd_open(left, PidfdFlags::empty()).unwrap();
        drop(program);
        let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
        let mut polled = [PollFd::new(&left, PollFlags::IN)];
        assert_eq!(poll(&mut polled, Some(&timeout)).unwrap(), 1);
    }
}
