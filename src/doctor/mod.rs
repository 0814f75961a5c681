//! What is readable of httpd and what mends the rest, what around it is unsound, and who on this
//! host would restart it hard.
//!
//! Everything is read once, and nothing is changed. Paths of the host are below a root that the
//! caller names, so that tests have hosts of their own.

pub mod callers;
pub mod hygiene;
pub mod report;
pub mod sources;
mod text;
pub mod units;

use serde::Serialize;

use crate::{decode::error_log::escaped, model::label::closed_set};

/// What is shown of one text, in bytes.
const LONGEST: usize = 4096;

closed_set! {
    /// What was found of one thing.
    Verdict {
        /// As it should be.
        Ok = "ok",
        /// It should be mended.
        Warning = "warning",
        /// It could not be told.
        Unknown = "unknown",
    }
}

closed_set! {
    /// What is looked at besides the sources.
    Check {
        /// Whether others may write the binary, the configuration or modules.
        Paths = "paths",
        /// Whether everybody may ask `server-status` or `server-info`.
        StatusHandler = "status_handler",
        /// Whether a logout takes httpd's semaphores away.
        RemoveIpc = "remove_ipc",
        /// Whether httpd shares its process group.
        ProcessGroup = "process_group",
        /// Whether the kernel grants `ListenBacklog`.
        ListenBacklog = "listen_backlog",
        /// Whether the unit's reload is a graceful restart.
        ExecReload = "exec_reload",
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was asked.
    pub check: Check,
    /// The answer.
    pub verdict: Verdict,
    /// Of what, such as a path or a unit.
    pub thing: String,
    /// Why it is so, or why it is not known.
    pub cause: String,
    /// What can be typed or written to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Check {
    fn ok(self, thing: impl Into<String>, cause: impl Into<String>) -> Finding {
        self.finding(Verdict::Ok, thing.into(), cause.into(), None)
    }

    fn unknown(self, thing: impl Into<String>, cause: impl Into<String>) -> Finding {
        self.finding(Verdict::Unknown, thing.into(), cause.into(), None)
    }

    fn warning(
        self,
        thing: impl Into<String>,
        cause: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        self.finding(Verdict::Warning, thing.into(), cause.into(), Some(mend.into()))
    }

    /// Names of others' files and words of their configurations do nothing to a terminal.
    fn finding(
        self,
        verdict: Verdict,
        thing: String,
        cause: String,
        mend: Option<String>,
    ) -> Finding {
        let plain = |text: String| escaped(text.as_bytes(), LONGEST);
        let (thing, cause, mend) = (plain(thing), plain(cause), mend.map(plain));
        Finding { check: self, verdict, thing, cause, mend }
    }
}
