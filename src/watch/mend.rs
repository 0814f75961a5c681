//! What an operator can do about a source that gives nothing.

use crate::model::source::{Source, Why};

/// What makes a silent source speak, if that is known.
pub(super) const fn mend(source: Source, why: Why) -> Option<&'static str> {
    match (source, why) {
        (Source::Scoreboard, Why::Permission) => Some(
            "generation numbers and workers stay unknown, types and drains are told where the \
             process table proves them: run as root, as httpd's own user, or with CAP_SYS_PTRACE",
        ),
        (Source::ProcessTable, Why::Permission) => {
            Some("mount /proc without hidepid, or join its gid= group")
        }
        (Source::ErrorLog, Why::Permission) => Some(
            "add the user to the group that may read the log, on Debian adm; where gracekeeper does \
             not know the file either, let it ask httpd (ask_httpd), or name it as error_log of a \
             [[server]]",
        ),
        (Source::ErrorLog, Why::Invalid) => Some(
            "httpd writes to a program, to syslog or to a terminal: name a file as error_log of a \
             [[server]], or set it to \"none\"; one [[server]] turns discovery off",
        ),
        (Source::Scoreboard | Source::ErrorLog, Why::Other) => {
            Some("if the reading process has ended, restart gracekeeper: only then is it started")
        }
        (Source::ErrorLog, Why::Missing) => Some("name the file as error_log of a [[server]]"),
        (Source::ServerStatus, Why::Missing) => Some("status_url leads where nobody listens"),
        (Source::ServerStatus, Why::Timeout) => {
            Some("every worker is busy, or status_url leads elsewhere")
        }
        (Source::ServerStatus, Why::Invalid) => {
            Some("status_url must lead to mod_status, with ?auto, without a redirect")
        }
        (_, Why::Limit) => Some("raise the limit of open files"),
        (
            Source::Scoreboard | Source::ProcessTable | Source::ErrorLog | Source::ServerStatus,
            Why::Permission | Why::Missing | Why::Timeout | Why::Invalid | Why::Other,
        ) => None,
    }
}

/// Likewise of an error log that an operator named himself.
pub(super) const fn mend_named_log(why: Why) -> Option<&'static str> {
    match why {
        Why::Missing => Some("nothing is where error_log of this [[server]] leads: mend its path"),
        Why::Invalid => Some("error_log of this [[server]] leads to what is no regular file"),
        Why::Permission => Some(
            "add the user to the group that may read the file that error_log of this [[server]] \
             names, on Debian adm",
        ),
        Why::Limit => Some("raise the limit of open files"),
        Why::Timeout | Why::Other => None,
    }
}
