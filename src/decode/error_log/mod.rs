//! Lines of httpd's error log to what they say: level, code of the message, whose line it is.
//!
//! # What is recognised
//!
//! The first kilobyte of a line tells it, or, of a JSON object, the whole line. A line is
//!
//! - a JSON object, whatever the order of its members: `level`, `severity` and the like; `pid`,
//!   `process` and the like, as a text or a number; `msg`, `message` and the like, which may itself
//!   be such a line as follows here (containers' log drivers wrap lines in JSON);
//! - or text: bracketed groups (`[time] [module:level] [pid 1:tid 2] [client ..]`), of which the
//!   level's may hold no module or an empty one; the file's name and line (`core.c(12): `); the
//!   system's error (`(98)Address already in use: `); the message. Before the level there may be
//!   what syslog puts there, and without brackets anything that looks like a time, a host, a
//!   program's name, `key=value`, or a level as a word of its own (`notice AH00489: ..`).
//!
//! A code counts where the message begins, and nowhere else: what clients choose (paths, host
//! names, what scripts print of them) comes later in a message. Bare numbers are never taken for a
//! pid: a wrong one is worse than none.

mod counts;
mod escaped;
pub mod failure;
mod json;
mod splitter;
mod text;
mod time;
mod told;
mod words;

pub use counts::{Counts, LifecycleLine, MOST_LIFECYCLE_LINES};
pub use escaped::escaped;
pub use splitter::{LONGEST_LINE, LineSplitter};
pub use time::LogTime;
pub use told::{Told, line_and_number, told};

use crate::model::{
    log::{LogCode, LogLevel},
    process::Pid,
};

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `%l`; `LogLevel::None` if it tells none.
    pub level: LogLevel,
    /// The code that its message begins with; a line without one is no event.
    pub code: Option<LogCode>,
    /// The process that it says it is of.
    pub pid: Option<Pid>,
}

/// Reads one line, without its line feed; whatever the bytes are, there is an answer.
#[must_use]
pub fn line(bytes: &[u8]) -> LogLine {
    if bytes.first() == Some(&b'[') {
        return text::text(bytes);
    }
    // A file that was truncated under a writer without O_APPEND begins with a hole of zeros.
    let start = bytes.iter().position(|byte| !matches!(byte, 0 | b' ' | b'\t'));
    let bytes = start.and_then(|start| bytes.get(start..)).unwrap_or_default();
    if bytes.first() == Some(&b'{') { json::json(bytes) } else { text::text(bytes) }
}

impl LogLine {
    /// What nothing is known of.
    const UNKNOWN: Self = Self { level: LogLevel::None, code: None, pid: None };
}

#[cfg(test)]
mod tests;
