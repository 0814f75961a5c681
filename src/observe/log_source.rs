//! Which error log is a server's: what its parent has as standard error, else what httpd says.

use std::path::PathBuf;

use super::{asked::ErrorLogPlace, error_log::client::LogReader};
use crate::model::{log::LogReport, process::ProcessId, snapshot::Part, source::Why};

/// What an operator wants of the error log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogChoice {
    /// Find it.
    #[default]
    Auto,
    /// Leave it alone.
    None,
    /// The file of this absolute path.
    Path(PathBuf),
}

/// Reads one server's error log.
#[derive(Debug)]
pub struct LogSource {
    server: u32,
    choice: LogChoice,
    /// The parent whose standard error was last followed.
    parent: Option<ProcessId>,
    /// The parent whose descriptors were not to be seen.
    closed: Option<ProcessId>,
    /// The file that httpd named may hold more of a parent that has ended.
    lingers: bool,
    /// The reading process follows it.
    followed: bool,
}

impl LogSource {
    /// A log of which nothing was read; `server` is the server's number.
    #[must_use]
    pub fn new(server: usize, choice: LogChoice) -> Self {
        let server = u32::try_from(server).unwrap_or(u32::MAX);
        Self { server, choice, parent: None, closed: None, lingers: false, followed: false }
    }

    /// Another choice of the operator's.
    pub fn choose(&mut self, choice: &LogChoice) {
        if self.choice != *choice {
            self.choice.clone_from(choice);
            (self.parent, self.closed, self.lingers) = (None, None, false);
        }
    }

    /// What came since the last look; `None` if nothing is wanted, or nobody writes. `told`: where
    /// httpd says that its log is; `None` while it has not answered.
    pub fn read(
        &mut self,
        parent: Option<ProcessId>,
        told: Option<&Result<Option<ErrorLogPlace>, Why>>,
        logs: &mut LogReader,
    ) -> Option<Part<LogReport>> {
        match &self.choice {
            LogChoice::None => {
                if std::mem::take(&mut self.followed) {
                    logs.forget(self.server);
                }
                return None;
            }
            LogChoice::Path(path) => {
                self.followed = true;
                return Some(logs.follow_file(self.server, path));
            }
            LogChoice::Auto => {}
        }
        self.followed = true;
        if (parent.is_none() || parent != self.closed)
            && let Some(part) = self.read_standard_error(parent, logs)
        {
            return Some(part);
        }
        if parent.is_none() && !self.lingers {
            return None;
        }
        let part = self.read_told(told?, logs);
        self.lingers = match &part {
            Part::Seen(report) => parent.is_some() || *report != LogReport::default(),
            Part::Unseen(_) => false,
        };
        (parent.is_some() || self.lingers).then_some(part)
    }

    fn read_told(
        &self,
        told: &Result<Option<ErrorLogPlace>, Why>,
        logs: &mut LogReader,
    ) -> Part<LogReport> {
        match told {
            Ok(Some(ErrorLogPlace::File(path))) => logs.follow_file(self.server, path),
            // A program, syslog, or a descriptor of its own: there is no file.
            Ok(Some(_)) => Part::Unseen(Why::Invalid),
            Ok(None) | Err(_) => Part::Unseen(Why::Permission),
        }
    }

    /// `None`: it is closed to us, or of a parent that is gone and has been read to its end.
    fn read_standard_error(
        &mut self,
        parent: Option<ProcessId>,
        logs: &mut LogReader,
    ) -> Option<Part<LogReport>> {
        let id = parent.or(self.parent)?;
        self.parent = Some(id);
        let part = logs.follow_parent(self.server, id);
        if part == Part::Unseen(Why::Permission) {
            self.closed = Some(id);
            self.parent = None;
            return None;
        }
        if parent.is_none() && part.seen().is_none() {
            self.parent = None;
            return None;
        }
        Some(part)
    }
}
