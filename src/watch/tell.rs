//! What happened to a server, in the log: one line each.

use std::fmt::{self, Write as _};

use tracing::{info, warn};

use crate::{
    model::{
        event::Event,
        exhaustion::Exhaustion,
        journal::rfc3339,
        signal::signal_name,
        time::{Moment, Timestamp},
    },
    track::witness::WitnessChange,
};

/// Writes a line of what happened, if it is worth one. Generations have httpd's own numbers if
/// they are `numbered`.
pub(super) fn tell(server: &str, numbered: bool, at: Moment, event: &Event) {
    match event {
        Event::ParentAppeared { parent, .. } => info!(server, pid = parent.pid.as_raw(), "up"),
        Event::Restarted { kind, took, interrupted, .. } => {
            let seconds = took.map(|took| took.as_secs_f64());
            // Without the scoreboard nobody knows.
            let interrupted = numbered.then_some(*interrupted);
            info!(server, r#type = kind.label(), seconds, interrupted, "restarted");
        }
        Event::ServedAgain { kind, unserved } => {
            let seconds = unserved.as_secs_f64();
            info!(server, r#type = kind.label(), seconds, "served again");
        }
        Event::Stopped { kind, at: ended } => {
            // Why is known when it was reaped: there may be another parent by then.
            // An end that nobody saw is as late as this look.
            let seconds_ago = (at > *ended).then(|| at.since(*ended).as_secs_f64());
            info!(server, r#type = kind.label(), seconds_ago, "stopped");
        }
        Event::DrainEnded { generation, lasted, children, outcome } => info!(
            server,
            generation = numbered.then_some(generation.number()),
            seconds = lasted.as_secs_f64(),
            children,
            outcome = outcome.label(),
            "drain ended"
        ),
        Event::RestartFailed { .. }
        | Event::RestartHung { .. }
        | Event::PromptBegan { .. }
        | Event::PromptEnded { .. }
        | Event::ChildCrashed { .. }
        | Event::Exhausted { .. } => warn_of(server, at, event),
        Event::Owed { reason, since } => {
            let since = since.and_then(text_of);
            info!(server, reason = reason.label(), since, "restart required");
        }
        Event::Paid { reason } => info!(server, reason = reason.label(), "no restart required"),
        Event::RestartBegan { .. }
        | Event::DrainBegan { .. }
        | Event::ChildDrained { .. }
        | Event::ChildrenStarted { .. }
        | Event::ChildExited { .. }
        | Event::Overlapped { .. }
        | Event::LogRead(_)
        | Event::Contradicted(_) => {}
    }
}

/// Writes a line of what went wrong.
#[expect(clippy::wildcard_enum_match_arm, reason = "most events are not wrong")]
fn warn_of(server: &str, at: Moment, event: &Event) {
    match event {
        Event::RestartFailed { reason, detail, .. } => {
            warn!(server, reason = reason.label(), detail, "restart failed");
        }
        Event::RestartHung { began, cause } => {
            let seconds = at.since(*began).as_secs_f64();
            warn!(server, cause = cause.label(), seconds, "restart hangs");
        }
        Event::PromptBegan { dialog, .. } => {
            warn!(server, dialog = dialog.label(), "httpd waits for a key's pass phrase");
        }
        Event::PromptEnded { began, outcome } => {
            let seconds = at.since(*began).as_secs_f64();
            info!(server, outcome = outcome.label(), seconds, "pass phrase prompt is over");
        }
        Event::ChildCrashed { signal, .. } => {
            let name = signal_name(*signal);
            if *signal == 9 {
                warn!(server, signal = name, "child killed");
            } else {
                warn!(server, signal = name, "child crashed");
            }
        }
        Event::Exhausted { what: Exhaustion::Address, .. } => warn!(server, "address in use"),
        Event::Exhausted { what, .. } => warn!(server, what = what.label(), "limit reached"),
        _ => {}
    }
}

/// Writes that a source began or ceased to answer, and what an operator can do about it.
pub(super) fn tell_source(server: &str, change: WitnessChange, mend: Option<&str>) {
    let source = change.source.label();
    match change.why {
        None => info!(server, source, "source answers again"),
        Some(why) => {
            warn!(server, source, reason = why.label(), mend, "source gives nothing");
        }
    }
}

/// A time as the journal writes it; `None` for one beyond the year 9999.
fn text_of(at: Timestamp) -> Option<String> {
    struct Text(Timestamp);

    impl fmt::Display for Text {
        fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            rfc3339::serialize(&self.0, to)
        }
    }

    let mut text = String::new();
    write!(text, "{}", Text(at)).ok().map(|()| text)
}
