//! httpd, asked about its own configuration: `-t -D DUMP_RUN_CFG -D DUMP_MODULES -D DUMP_CERTS -D
//! DUMP_INCLUDES`; and of each parent once, `-V`, which prints nothing else of that and so takes a run of its own.
//!
//! It runs as gracekeeper's own user, on a thread of its own so that no look waits for it, writes
//! nothing and signals nobody. It does open its configuration, which the watch hears as it hears
//! any configtest. Who could make root run a program of his own by it is refused; see `trust`.

mod asker;
mod build;
mod changes;
mod dialog;
mod file_list;
mod identity;
mod question;
mod settings;
mod standing;
mod surroundings;
mod texts;
mod tree;
mod trust;
mod validity;

use std::{ffi::OsString, io, path::PathBuf, process::ExitStatus, time::Duration};

use thiserror::Error;

pub use self::{asker::Asker, file_list::joined, identity::Identity};
pub use crate::decode::run_configuration::ErrorLogPlace;
use crate::{
    model::{
        build::HttpdBuild, files::FileList, process::ProcessId, settings::ServerSettings,
        source::Why, time::Moment,
    },
    program::ProgramError,
    trusted_path::Distrust,
};

/// What is to be asked, and of whom; `None` is what is found at the parent itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The parent that serves.
    pub parent: ProcessId,
    /// The absolute path of the program that an operator named.
    pub program: Option<PathBuf>,
    /// The arguments that an operator listed, without the program and without `-t`.
    pub arguments: Option<Vec<OsString>>,
    /// The absolute path of the shell script that sets its environment, which an operator named.
    pub environment_file: Option<PathBuf>,
    /// What the reading process told; `None` where it did not, or was not asked.
    pub environment: Option<Surroundings>,
}

/// Where a parent runs, as the reading process told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Its environment, in assignments that end in NUL.
    pub environment: Option<Vec<u8>>,
    /// Its namespaces, root directory and program.
    pub identity: Option<Identity>,
}

#[cfg(test)]
impl Question {
    /// About a parent that there is not.
    fn of_nobody() -> Self {
        use crate::model::{process::Pid, time::Uptime};
        let pid = Pid::new(i32::MAX).unwrap();
        Self {
            parent: ProcessId { pid, started: Uptime::from_micros(1) },
            program: None,
            arguments: None,
            environment_file: None,
            environment: None,
        }
    }
}

/// What httpd says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where the main server's error log goes.
    pub error_log: Option<ErrorLogPlace>,
    /// The absolute path of its pid file.
    pub pid_file: Option<PathBuf>,
    /// Its `ServerRoot`.
    pub server_root: Option<PathBuf>,
    /// Every file that its configuration is made of, the main one first.
    pub includes: Vec<PathBuf>,
    /// There are more such files than are kept.
    pub includes_are_cut: bool,
    /// No file of it has a pass phrase dialog that is asked through a pipe.
    pub has_no_pipe_dialog: bool,
    /// What the configuration says of children, listeners and logs; `None` if not all of it could
    /// be read.
    pub settings: Option<ServerSettings>,
    /// What the parent is made of, as far as that is told.
    pub build: HttpdBuild,
    /// The files that are to be watched.
    pub files: FileList,
    /// Why it would not read it all the same, if a configtest says so.
    pub refused: Option<Refused>,
    /// When it was asked: what changed later is not in the answer.
    pub at: Moment,
}

/// What a configtest has against a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The end of what it said, at most 500 characters.
    pub said: String,
    /// It is wrong for httpd's own user too, not only for gracekeeper's.
    pub is_wrong: bool,
}

/// The end of a question.
#[derive(Debug)]
pub struct Asked {
    /// The server's number, as it was asked.
    pub server: usize,
    /// The parent that was asked about.
    pub parent: ProcessId,
    /// What httpd says, or why it says nothing.
    pub result: Result<Answer, AskError>,
    /// How long that took, without the wait for others' turns.
    pub took: Duration,
}

/// Why httpd says nothing of itself.
#[derive(Debug, Error)]
pub enum AskError {
    /// The parent is gone, or cannot be looked at.
    #[error("look at the parent: {}", .0.label())]
    Parent(Why),
    /// It belongs to somebody whose programs gracekeeper does not run.
    #[error(
        "refused: the parent belongs to uid {owner}, and gracekeeper, which is uid {own}, runs only what is root's or its own"
    )]
    Stranger {
        /// The first of the parent's uids that is foreign.
        owner: u32,
        /// gracekeeper's.
        own: u32,
    },
    /// Its namespaces, its root directory or its program are not to be seen, so that it may be a
    /// container's.
    #[error(
        "refused: whether the parent's namespaces and program are one's own cannot be told: {}",
        .0.label()
    )]
    Unidentified(Why),
    /// Its paths are not paths here.
    #[error("refused: the parent lives in another {what}, as a container's does")]
    Elsewhere {
        /// What is another one.
        what: &'static str,
    },
    /// It is not what it is called.
    #[error("refused: the parent is called {}, but runs {running}", .program.display())]
    Impostor {
        /// The program that would have been run.
        program: PathBuf,
        /// The one that runs.
        running: String,
    },
    /// Who lives among other mounts may name only what belongs to this system.
    #[error(
        "refused: the parent, whose mounts may not be one's own, was started with {argument}, which is not of this system"
    )]
    Argument {
        /// The argument.
        argument: String,
    },
    /// Others could change what would be run, or read as a script.
    #[error("refused: {0}")]
    Distrusted(Distrust),
    /// What would be read and loaded cannot all be looked at.
    #[error(
        "refused: whether others may write what the configuration loads cannot be told: {what}"
    )]
    Unchecked {
        /// What of it.
        what: String,
    },
    /// The parent's program is called by a name that leads nowhere from here.
    #[error("find the parent's program {}: {source}", .program.display())]
    Program {
        /// As it was called.
        program: PathBuf,
        /// Why its executable file could not be told either.
        source: io::Error,
    },
    /// `-d` is below a working directory that only the parent knows.
    #[error("refused: the parent's -d is relative")]
    RelativeRoot,
    /// The program could not be run, or took too long.
    #[error(transparent)]
    Run(#[from] ProgramError),
    /// It refused to answer, as with a configuration that is wrong.
    #[error("{} ended with {status}: {said}", .program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said, at most 500 characters.
        said: String,
        /// The configuration is wrong for httpd's own user too, not only for gracekeeper's.
        is_wrong: bool,
        /// Files of the configuration that it told of before.
        included: Vec<PathBuf>,
    },
    /// It ended well and said nothing that was asked.
    #[error("{} says nothing of its configuration", .program.display())]
    Silent {
        /// The program.
        program: PathBuf,
    },
}

impl AskError {
    /// The closed reason.
    #[must_use]
    pub fn why(&self) -> Why {
        match self {
            Self::Parent(why) => *why,
            Self::Distrusted(Distrust::Unseen { source, .. }) | Self::Program { source, .. } => {
                super::process_table::why(source)
            }
            Self::Stranger { .. }
            | Self::Unidentified(_)
            | Self::Elsewhere { .. }
            | Self::Impostor { .. }
            | Self::Argument { .. }
            | Self::Distrusted(Distrust::Exposed { .. }) => Why::Permission,
            Self::Distrusted(Distrust::NotAFile { .. } | Distrust::Nowhere { .. })
            | Self::RelativeRoot
            | Self::Failed { .. }
            | Self::Silent { .. } => Why::Invalid,
            Self::Unchecked { .. } => Why::Limit,
            Self::Run(ProgramError::Timeout { .. }) => Why::Timeout,
            Self::Run(
                ProgramError::Start { source, .. }
                | ProgramError::Output { source, .. }
                | ProgramError::Signal { source, .. }
                | ProgramError::Wait { source, .. },
            ) => super::process_table::why(source),
            Self::Run(ProgramError::Cancelled { .. }) => Why::Other,
        }
    }

    /// It ended because gracekeeper does.
    const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Run(ProgramError::Cancelled { .. }))
    }
}
