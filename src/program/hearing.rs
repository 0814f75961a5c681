//! What a program says until it ends, bounded in time and in length.

use std::{
    ffi::OsString,
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio},
};

use super::{Program, ProgramError};
use crate::{clock, model::time::Moment};

/// As much of standard output, and of standard error, as is kept: the names of 20 000 files.
const LONGEST: usize = 4 << 20;

/// A program to be heard. It runs in `/` and has nothing to read.
#[derive(Debug)]
pub struct Hearing<'a> {
    /// Where it is.
    pub path: PathBuf,
    /// After its name.
    pub arguments: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// When it takes longer, it is killed.
    pub patience: Duration,
    /// When the other end of this is closed, it is killed.
    pub cancelled: BorrowedFd<'a>,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How it ended.
    pub status: ExitStatus,
    /// The first MiB of its standard output.
    pub output: Vec<u8>,
    /// Bytes of its standard output beyond that.
    pub output_dropped: u64,
    /// The first MiB of its standard error.
    pub errors: Vec<u8>,
    /// Bytes of its standard error beyond that.
    pub errors_dropped: u64,
}

/// One of its streams.
struct Ear<T> {
    stream: Option<T>,
    kept: Vec<u8>,
    dropped: u64,
}

/// Starts a program, waits for its end and hands over what it said until then. What it forked and
/// left behind is killed, and not waited for: it may hold the streams open for ever.
pub fn hear(hearing: Hearing<'_>) -> Result<Heard, ProgramError> {
    let Hearing { path, arguments, environment, patience, cancelled } = hearing;
    let deadline = clock::now().after(patience);
    #[expect(clippy::disallowed_methods, reason = "this is the starter of programs")]
    let mut command = Command::new(&path);
    command
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut program = Program::spawn(path.clone(), command)?;
    let heard = listen(&mut program, deadline, cancelled);
    // Also when it did not end: a patient end, as of a program that serves, is for none of these.
    let status = program.kill()?;
    let (output, errors, end) = heard?;
    match end {
        End::Itself => Ok(Heard {
            status,
            output: output.kept,
            output_dropped: output.dropped,
            errors: errors.kept,
            errors_dropped: errors.dropped,
        }),
        End::Late => Err(ProgramError::Timeout { path, patience }),
        End::Cancelled => Err(ProgramError::Cancelled { path }),
    }
}

/// Why the listening ended.
#[derive(Clone, Copy)]
enum End {
    Itself,
    Late,
    Cancelled,
}

type Listened = (Ear<ChildStdout>, Ear<ChildStderr>, End);

fn listen(
    program: &mut Program,
    deadline: Moment,
    cancelled: BorrowedFd<'_>,
) -> Result<Listened, ProgramError> {
    let mut output = Ear::new(program.child.stdout.take());
    let mut errors = Ear::new(program.child.stderr.take());
    let end = loop {
        let end = wait(&program.pidfd, cancelled, [output.fd(), errors.fd()], deadline);
        let end = end.map_err(|error| program.lost(error.into()))?;
        // Whatever it said before it ended is in the pipes by now.
        output.listen();
        errors.listen();
        if let Some(end) = end {
            break end;
        }
    };
    Ok((output, errors, end))
}

/// Waits until there is something to read, `None`, or nothing more to wait for.
fn wait(
    pidfd: &OwnedFd,
    cancelled: BorrowedFd<'_>,
    streams: [Option<BorrowedFd<'_>>; 2],
    deadline: Moment,
) -> Result<Option<End>, Errno> {
    let rest = deadline.since(clock::now());
    if rest.is_zero() {
        return Ok(Some(End::Late));
    }
    let mut polled =
        vec![PollFd::new(pidfd, PollFlags::IN), PollFd::from_borrowed_fd(cancelled, PollFlags::IN)];
    let streams = streams.into_iter().flatten();
    polled.extend(streams.map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::IN)));
    match poll(&mut polled, Timespec::try_from(rest).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error),
    }
    let is_ready = |index: usize| polled.get(index).is_some_and(|it| !it.revents().is_empty());
    Ok(if is_ready(1) {
        Some(End::Cancelled)
    } else if is_ready(0) {
        Some(End::Itself)
    } else {
        None
    })
}

impl<T: Read + AsFd> Ear<T> {
    fn new(stream: Option<T>) -> Self {
        // One that would block is not listened to: it could hold this thread for good.
        let stream = stream.filter(|stream| ioctl_fionbio(stream, true).is_ok());
        Self { stream, kept: Vec::new(), dropped: 0 }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// Takes what is there, but no more than a pipe holds at once: who writes without an end must
    /// not keep this from its deadline.
    fn listen(&mut self) {
        let mut chunk = [0; 16 << 10];
        for _ in 0..64 {
            let Some(stream) = &mut self.stream else { return };
            match stream.read(&mut chunk) {
                Ok(0) => self.stream = None,
                Ok(read) => {
                    let room = LONGEST.saturating_sub(self.kept.len()).min(read);
                    self.kept.extend(chunk.iter().take(room));
                    self.dropped += (read - room) as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => self.stream = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use rustix::{
        pipe::{PipeFlags, pipe_with},
        process::{Pid, test_kill_process},
    };

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC).unwrap()
    }

    fn shell_within(script: &str, patience: Duration) -> Result<Heard, ProgramError> {
        let (cancelled, _cancel) = pipe();
        hear(Hearing {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("NAME".into(), "value".into())],
            patience,
            cancelled: cancelled.as_fd(),
        })
    }

    fn shell(script: &str) -> Heard {
        shell_within(script, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn what_it_said_and_how_it_ended_is_told() {
        let heard = shell("pwd; echo \"$NAME$HOME\"; cat; echo wrong >&2; exit 3");
        assert_eq!(heard.status.code(), Some(3));
        assert_eq!(String::from_utf8(heard.output).unwrap(), "/\nvalue\n");
        assert_eq!(String::from_utf8(heard.errors).unwrap(), "wrong\n");
        assert_eq!((heard.output_dropped, heard.errors_dropped), (0, 0));
    }

    #[test]
    fn it_has_a_process_group_of_its_own() {
        let group = shell("cut -d ' ' -f 5 /proc/self/stat").output;
        let own = rustix::process::getpgrp().as_raw_nonzero().to_string();
        assert_ne!(String::from_utf8(group).unwrap().trim(), own);
    }

    #[test]
    fn beyond_four_mebibytes_it_is_only_counted() {
        let heard = shell("head -c 5000000 /dev/zero; head -c 4194305 /dev/zero >&2");
        assert!(heard.status.success());
        assert_eq!(heard.output.len(), LONGEST);
        assert_eq!(heard.output_dropped, 5_000_000 - (4 << 20));
        assert_eq!((heard.errors.len(), heard.errors_dropped), (LONGEST, 1));
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_what_it_forked() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("trap '' TERM; sleep 1000 & echo $! > {}; yes", file.display());
        let error = shell_within(&script, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.to_string(), "wait for /bin/sh: it took longer than 300ms");
        assert_gone(&file);
    }

    #[test]
    fn what_it_leaves_behind_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let heard = shell(&format!("sleep 1000 & echo $! > {}; echo said", file.display()));
        assert_eq!(heard.output, b"said\n");
        assert_gone(&file);
    }

    #[test]
    fn it_is_killed_when_nobody_wants_to_know_any_more() {
        let (cancelled, cancel) = pipe();
        drop(cancel);
        let hearing = Hearing {
            path: "/bin/sleep".into(),
            arguments: vec!["1000".into()],
            environment: Vec::new(),
            patience: Duration::from_secs(600),
            cancelled: cancelled.as_fd(),
        };
        assert!(matches!(hear(hearing), Err(ProgramError::Cancelled { .. })));
    }

    /// Killed, and by now perhaps reaped by whoever adopts orphans here.
    fn assert_gone(file: &Path) {
        let raw = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(raw).unwrap();
        while test_kill_process(pid).is_ok() {
            let stat = fs::read_to_string(format!("/proc/{raw}/stat")).unwrap_or_default();
            if stat.contains(") Z ") {
                break;
            }
            std::thread::yield_now();
        }
    }
}
