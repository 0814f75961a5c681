//! The private httpd: the only one that gracekeeper ever signals, for it is its own child.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use rustix::process::{Signal, geteuid};

use super::{
    DemoError,
    configuration::{self, Scoreboard},
    directory::Directory,
    installation::{Installation, User},
};
use crate::program::{Output, Program, ProgramError, Start};

/// What a parent writes when it serves, after a start and after each restart (AH00163, AH00292).
const RESUMED: &[u8] = b"resuming normal operations";
/// A restart writes three lines.
const MOST_NEW_BYTES: u64 = 64 << 10;
const LAST_WORDS: i64 = 2048;

/// A running one.
#[derive(Debug)]
pub struct Httpd {
    program: Program,
    installation: Installation,
    directory: PathBuf,
    address: SocketAddr,
    log: Log,
}

/// The error log, as far as it was read.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    read: u64,
    resumptions: usize,
}

impl Httpd {
    /// Starts one on this port of loopback; it may not serve yet.
    pub fn start(directory: &Directory, port: u16) -> Result<Self, DemoError> {
        let installation = Installation::find()?;
        let user = if geteuid().is_root() { Some(User::find()?) } else { None };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let path = directory.path();
        let text = configuration::httpd(&installation, path, address, user.as_ref(), scoreboard());
        directory.write("httpd.conf", &text)?;
        let log = Log { path: path.join("logs/error_log"), read: 0, resumptions: 0 };
        let program = launch(&installation.program, path)?;
        Ok(Self { program, installation, directory: path.to_owned(), address, log })
    }

    /// What was found.
    #[must_use]
    pub const fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The running parent.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// A graceful restart.
    pub fn graceful(&self) -> Result<(), ProgramError> {
        self.program.signal(Signal::USR1)
    }

    /// A hard restart.
    pub fn hard(&self) -> Result<(), ProgramError> {
        self.program.signal(Signal::HUP)
    }

    /// A stop; returns when it has ended.
    pub fn stop(&mut self) -> Result<(), ProgramError> {
        self.program.end().map(drop)
    }

    /// A start after a stop; it may not serve yet.
    pub fn start_again(&mut self) -> Result<(), ProgramError> {
        self.program = launch(&self.installation.program, &self.directory)?;
        Ok(())
    }

    /// How often it has begun to serve, restarts included.
    pub fn resumptions(&mut self) -> Result<usize, DemoError> {
        self.log.catch_up().map_err(|source| {
            // Unreadable is as bad as unwritable: it is our own.
            DemoError::Write { path: self.log.path.clone(), source }
        })?;
        Ok(self.log.resumptions)
    }

    /// Why the demonstration cannot go on with one that has ended.
    pub fn ended(&mut self) -> DemoError {
        match self.program.end() {
            Ok(status) => DemoError::HttpdEnded { status, last_words: self.last_words() },
            Err(error) => error.into(),
        }
    }

    /// The end of what it wrote, before and after it opened its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let output = end_of(&output_file(&self.directory)).unwrap_or_default();
        output + &end_of(&self.log.path).unwrap_or_default()
    }
}

impl Log {
    fn catch_up(&mut self) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut new = Vec::new();
        file.take(MOST_NEW_BYTES).read_to_end(&mut new)?;
        for line in new.split_inclusive(|byte| *byte == b'\n') {
            if line.ends_with(b"\n") {
                self.read += u64::try_from(line.len()).unwrap_or(0);
                self.resumptions +=
                    usize::from(line.windows(RESUMED.len()).any(|words| words == RESUMED));
            }
        }
        Ok(())
    }
}

fn launch(program: &Path, directory: &Path) -> Result<Program, ProgramError> {
    let configuration = directory.join("httpd.conf");
    Program::start(Start {
        path: program.to_owned(),
        arguments: vec![
            "-d".into(),
            directory.into(),
            "-f".into(),
            configuration.into(),
            "-D".into(),
            "FOREGROUND".into(),
        ],
        environment: vec![
            ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
            ("LC_ALL".into(), "C".into()),
        ],
        output: Output::File(output_file(directory)),
    })
}

fn output_file(directory: &Path) -> PathBuf {
    directory.join("logs/output")
}

/// Yama lets only its ancestors read a process's memory, and what watches httpd is none.
fn scoreboard() -> Scoreboard {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let is_closed = !matches!(scope.trim(), "" | "0");
    if is_closed && !geteuid().is_root() { Scoreboard::File } else { Scoreboard::Memory }
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    // A shorter file is read from its beginning.
    if file.seek(SeekFrom::End(-LAST_WORDS)).is_err() {
        file.rewind()?;
    }
    let mut bytes = Vec::new();
    file.take(LAST_WORDS.unsigned_abs()).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_the_log_count_and_each_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log { path: path.clone(), read: 0, resumptions: 0 };
        log.catch_up().unwrap();
        for (text, resumptions) in [
            ("AH00163: Apache configured -- resuming normal operations", 0),
            ("AH00163: Apache configured -- resuming normal operations\n", 1),
            ("AH00163: Apache configured -- resuming normal operations\nAH00094: Command\n", 1),
        ] {
            fs::write(&path, text).unwrap();
            log.catch_up().unwrap();
            assert_eq!(log.resumptions, resumptions, "{text}");
        }
        assert!(end_of(&path).unwrap().ends_with("Command\n"));
    }
}
