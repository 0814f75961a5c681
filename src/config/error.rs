//! Why there are no settings: every reason with its file, line and key.

use std::{fmt, io, path::PathBuf};

/// Why there are no settings, by what the operator must do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be opened or read.
    #[error("read {}: {}", .path.display(), plain(.source))]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is something that one does not read a configuration from.
    #[error("read {}: must be a regular file, is {is}", .path.display())]
    NotAFile {
        /// Which path.
        path: PathBuf,
        /// What is there.
        is: &'static str,
    },
    /// It is larger than any configuration.
    #[error("read {}: must be at most 1 MiB long, is longer", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// gracekeeper is root, and somebody else could change what root does.
    #[error(
        "read {}: must be writable by root alone, as gracekeeper runs as root; its mode is {mode:04o}, its owner {owner}",
        .path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner's uid.
        owner: u32,
    },
    /// gracekeeper is root, and everybody could put another file there.
    #[error(
        "read {}: its directory {} must not be writable by everybody, as gracekeeper runs as root; its mode is {mode:04o}",
        .path.display(),
        .directory.display()
    )]
    ExposedDirectory {
        /// Which file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
        /// The directory's permission bits.
        mode: u32,
    },
    /// It was read, and it says what cannot be.
    #[error("{0}")]
    Invalid(Problems),
}

/// All that is wrong with a configuration, in the order of its lines.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key's whole name; empty where the file is not TOML at all.
    pub key: String,
    /// What is wrong.
    pub cause: Cause,
}

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a line of a file, counted from 1.
    Line(PathBuf, usize),
    /// On the command line.
    Flag,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// It is not even text.
    #[error("must be UTF-8 text, is not")]
    NotText,
    /// No setting has this name.
    #[error("unknown key{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// A name that looks like it.
        nearest: Option<String>,
    },
    /// The value is of another type, not in range, or not in its closed set.
    #[error("must be {must}, is {is}")]
    Value {
        /// What it may be.
        must: String,
        /// What it is.
        is: String,
    },
    /// This version does not reload.
    #[error("must be \"off\", is \"{0}\": this version only watches")]
    OnlyWatches(&'static str),
    /// gracekeeper is root, and others could change what it would run.
    #[error("must be writable by root alone, as gracekeeper runs as root: {0}")]
    Distrusted(String),
    /// A section that does not work without another key.
    #[error("needs {0}")]
    Needs(&'static str),
    /// Two settings that cannot both hold.
    #[error("excludes {0}")]
    Excludes(&'static str),
    /// Two servers that could not be told apart.
    #[error("{what} {value:?} is also that of server[{other}]")]
    Twice {
        /// What they share.
        what: &'static str,
        /// Its value.
        value: String,
        /// The index of the earlier server.
        other: usize,
    },
}

/// So many problems are shown: a file that is something else entirely has one in each line.
const SHOWN: usize = 20;

impl ConfigError {
    /// Whether it is the operating system that does not permit it.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl From<Vec<Problem>> for ConfigError {
    fn from(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match problem.place {
            Place::Flag => 0,
            Place::Line(_, line) => line,
        });
        Self::Invalid(Problems(problems))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(SHOWN).enumerate() {
            let end_of_line = if index == 0 { "" } else { "\n" };
            write!(formatter, "{end_of_line}{problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(formatter, "\nand {more} more of these"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Place::Line(file, line) = &self.place {
            write!(formatter, "{}:{line}: ", file.display())?;
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        self.cause.fmt(formatter)
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// The kernel's words in lower case and without the number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_ascii_lowercase()
}
