//! What a line tells of the story of its server; most lines tell nothing.

use crate::{
    decode::error_log::{LogTime, Told, failure, line_and_number, told},
    model::{
        event::FailureReason,
        exhaustion::Exhaustion,
        hang::Dialog,
        log::{Lifecycle, LogLevel},
        process::Pid,
        signal::signal_name,
    },
};

/// A line that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When it was written, if it says so.
    pub time: Option<LogTime>,
    /// Whose line it is, if it says so.
    pub pid: Option<Pid>,
    /// What it tells.
    pub matter: Matter,
    /// What it tells besides of a limit that was reached.
    pub exhausted: Option<Exhaustion>,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matter {
    /// The parent began to serve, or a restart is over.
    Resumed {
        /// httpd's release, where `ServerTokens` lets it be told.
        version: Option<String>,
        /// The MPM that has such lines.
        mpm: &'static str,
    },
    /// A graceful restart began.
    Graceful,
    /// A hard restart began, or is nearly over.
    Hard {
        /// The MPM that has such lines.
        mpm: &'static str,
    },
    /// The parent stopped.
    Stopped,
    /// A graceful stop began.
    GracefulStop,
    /// A child did not end when it was told to.
    ChildStays,
    /// The pid file of a parent before was still there.
    Unclean,
    /// A child ended with a fatal error, or none ever came up: the parent exits, unless it says
    /// next that the child was of an old generation.
    FatalChild,
    /// It was.
    FatalChildIgnored,
    /// A fatal signal in the parent itself.
    ParentCrashed,
    /// A fatal signal ended a child.
    ChildCrash {
        /// Its name.
        signal: String,
    },
    /// A key's pass phrase is asked for.
    Prompt(Dialog),
    /// httpd says why it cannot go on.
    Saying {
        /// What for; `None` if the line only goes with others.
        reason: Option<FailureReason>,
        /// The words.
        text: String,
        /// It is one of the lines that only a parent writes that exits.
        is_last: bool,
    },
    /// Nothing but that a limit was reached.
    Limit,
}

/// Reads one line, without its line feed; `None` if it does not matter.
#[must_use]
pub fn note(bytes: &[u8]) -> Option<Note> {
    let (line, number) = line_and_number(bytes);
    let is_grave = matches!(line.level, LogLevel::Emerg | LogLevel::Alert | LogLevel::Crit);
    let is_known = number.is_some_and(is_listed);
    let may_be_said = failure::may_matter(line, number);
    if !is_known && !may_be_said {
        return None;
    }
    let said = if may_be_said { failure::saying(bytes) } else { None };
    if !is_known && said.is_none() && !is_grave {
        return None;
    }
    let told = told(bytes);
    let exhausted = exhausted(number, &told);
    // What clients choose comes after their address; httpd says nothing of itself there.
    let number = number.filter(|_| !told.is_of_client);
    let matter = number.and_then(|number| matter(number, line.code?.lifecycle(), &told));
    let matter = matter.or_else(|| {
        let (reason, text) = said?;
        let is_last = number.is_some_and(|number| (13..=20).contains(&number) || number == 2818);
        Some(Matter::Saying { reason, text, is_last })
    });
    let matter = matter.or_else(|| exhausted.map(|_| Matter::Limit))?;
    Some(Note { time: told.time, pid: line.pid, matter, exhausted })
}

/// Codes that tell something whatever their level.
const fn is_listed(number: u32) -> bool {
    matches!(
        number,
        45..=47 | 50..=52 | 60 | 98 | 163 | 166 | 169..=171 | 173 | 290 | 292 | 295..=298 | 487 | 489
            | 491..=494 | 2324 | 2325 | 1965 | 1967..=1969
            | 159 | 161 | 283 | 286 | 288 | 481 | 484 | 2179 | 3490
    )
}

fn matter(number: u32, lifecycle: Option<Lifecycle>, told: &Told<'_>) -> Option<Matter> {
    if let Some(says) = lifecycle {
        let mpm = mpm(number);
        return Some(match says {
            Lifecycle::Resumed => Matter::Resumed { version: version(&told.message), mpm },
            Lifecycle::Graceful => Matter::Graceful,
            Lifecycle::Hard => Matter::Hard { mpm },
            Lifecycle::Stopped => Matter::Stopped,
            Lifecycle::GracefulStop => Matter::GracefulStop,
        });
    }
    Some(match number {
        45..=47 => Matter::ChildStays,
        50 | 2324 | 2325 => Matter::FatalChild,
        51 | 52 => Matter::ChildCrash { signal: signal(&told.message) },
        60 => Matter::ParentCrashed,
        98 => Matter::Unclean,
        166 | 290 | 487 => Matter::FatalChildIgnored,
        1965 | 1967 => Matter::Prompt(Dialog::Pipe),
        1968 => Matter::Prompt(Dialog::Builtin),
        1969 => Matter::Prompt(Dialog::Exec),
        _ => return None,
    })
}

fn exhausted(number: Option<u32>, told: &Told<'_>) -> Option<Exhaustion> {
    let begins = |words: &str| told.message.starts_with(words.as_bytes());
    let ends = |words: &str| told.message.ends_with(words.as_bytes());
    match number {
        Some(161 | 286 | 484) => Some(Exhaustion::MaxRequestWorkers),
        Some(288 | 3490) => Some(Exhaustion::Scoreboard),
        Some(159 | 283 | 481) => Some(Exhaustion::Fork),
        Some(21..=23) if begins("(28)") => Some(Exhaustion::Semaphores),
        Some(72) if begins("(98)") => Some(Exhaustion::Address),
        _ if begins("(24)") || begins("(23)") || ends(": Too many open files") => {
            Some(Exhaustion::Fds)
        }
        _ => None,
    }
}

/// Each MPM has its own numbers for the same lines.
const fn mpm(number: u32) -> &'static str {
    match number {
        163..=173 => "prefork",
        290..=298 => "worker",
        _ => "event",
    }
}

/// `2.4.71` of `AH00489: Apache/2.4.71 (Debian) configured -- ..`.
fn version(message: &[u8]) -> Option<String> {
    let at = memchr::memmem::find(message, b"Apache/")?;
    let text = message.get(at + 7..)?;
    let end = text.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let text = std::str::from_utf8(text.get(..end.min(20))?).ok()?;
    (text.split('.').count() == 3).then(|| text.to_owned())
}

/// `SIGSEGV` of `AH00052: child pid 123 exit signal Segmentation fault (11)`.
fn signal(message: &[u8]) -> String {
    let words = memchr::memmem::find(message, b"exit signal ");
    let rest = words.and_then(|at| message.get(at..)).unwrap_or_default();
    let opening = memchr::memchr(b'(', rest);
    let digits = opening.and_then(|at| rest.get(at + 1..)).unwrap_or_default();
    let digits = digits.iter().take(3).take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0'));
    u8::try_from(number).map_or_else(|_| number.to_string(), signal_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matter_of(line: &str) -> Option<Matter> {
        note(line.as_bytes()).map(|note| note.matter)
    }

    #[test]
    fn lines_that_matter_are_found_whatever_stands_before_them() {
        for (message, matter) in [
            ("AH00493: SIGUSR1 received.  Doing graceful restart", Matter::Graceful),
            ("AH00298: SIGHUP received.  Attempting to restart", Matter::Hard { mpm: "worker" }),
            ("AH00169: caught SIGTERM, shutting down", Matter::Stopped),
            ("AH00170: caught SIGWINCH, shutting down gracefully", Matter::GracefulStop),
            (
                "AH00163: Apache/2.4.71 (Debian) configured -- resuming normal operations",
                Matter::Resumed { version: Some("2.4.71".to_owned()), mpm: "prefork" },
            ),
            (
                "AH00292: Apache configured -- resuming normal operations",
                Matter::Resumed { version: None, mpm: "worker" },
            ),
            (
                "AH00052: child pid 123 exit signal Segmentation fault (11)",
                Matter::ChildCrash { signal: "SIGSEGV".to_owned() },
            ),
            (
                "AH00051: child pid 1 exit signal Abort (6), possible coredump in /x (7)",
                Matter::ChildCrash { signal: "SIGABRT".to_owned() },
            ),
        ] {
            for header in [
                "",
                "[Sun Nov 22 10:30:00.1 2026] [x:notice] [pid 1:tid 1] ",
                "2026-11-22 10:30:00 notice ",
            ] {
                assert_eq!(matter_of(&format!("{header}{message}")).as_ref(), Some(&matter));
            }
            let json = format!("{{\"level\":\"notice\",\"msg\":\"{message}\"}}");
            assert_eq!(matter_of(&json), Some(matter));
        }
    }

    #[test]
    fn what_requests_write_does_not_matter() {
        for line in [
            "[t] [core:error] [pid 1:tid 1] [client 192.0.2.1:1] AH00128: File does not exist: /x",
            "[t] [authz_core:error] [pid 1] [client ::1:1] AH01630: client denied",
            "[t] [php:notice] [pid 1] [client ::1:1] AH00489: x",
            "[t] [cgid:error] [pid 1] [client ::1:1] AH01215: AH00526: x",
            "[t] [ssl:info] [pid 1:tid 1] AH01883: Init: Initialized OpenSSL library",
        ] {
            assert_eq!(note(line.as_bytes()), None, "{line}");
        }
    }
}
