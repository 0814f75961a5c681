//! The body of `server-status?auto`: lines of a name, a colon and a value.

use std::{str::FromStr, time::Duration};

use thiserror::Error;

use crate::model::server_status::ServerStatus;

/// A version or an MPM that is longer is somebody's joke.
const LONGEST_TEXT: usize = 200;

/// Why a body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ServerStatusError {
    /// It is HTML, another page, or nothing.
    #[error("it is no output of server-status?auto")]
    OtherPage,
    /// A number is none.
    #[error("{0} is not a number")]
    NotANumber(&'static str),
}

/// Reads a body. Of a name that comes twice the first value counts.
pub fn server_status(body: &[u8]) -> Result<ServerStatus, ServerStatusError> {
    // Its three lines since 2.2, with and without ExtendedStatus.
    if value(body, "Scoreboard").is_none() {
        return Err(ServerStatusError::OtherPage);
    }
    let needed = |name| number(body, name)?.ok_or(ServerStatusError::OtherPage);
    Ok(ServerStatus {
        version: text(body, "ServerVersion"),
        mpm: text(body, "ServerMPM"),
        generation: number(body, "ParentServerMPMGeneration")?,
        uptime: number(body, "ServerUptimeSeconds")?.map(Duration::from_secs),
        accesses: number(body, "Total Accesses")?,
        busy_workers: needed("BusyWorkers")?,
        idle_workers: needed("IdleWorkers")?,
        graceful_workers: number(body, "GracefulWorkers")?,
        processes: number(body, "Processes")?,
        stopping: number(body, "Stopping")?,
        connections: number(body, "ConnsTotal")?,
    })
}

fn value<'body>(body: &'body [u8], name: &str) -> Option<&'body [u8]> {
    body.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        Some(rest.trim_ascii())
    })
}

fn number<T: FromStr>(body: &[u8], name: &'static str) -> Result<Option<T>, ServerStatusError> {
    let Some(value) = value(body, name) else { return Ok(None) };
    let parsed = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or(ServerStatusError::NotANumber(name))
}

fn text(body: &[u8], name: &str) -> Option<String> {
    let text = str::from_utf8(value(body, name)?).ok()?;
    let is_plain = !text.is_empty() && !text.chars().any(char::is_control);
    (is_plain && text.len() <= LONGEST_TEXT).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// event of 2.4.71 in a drain, as captured.
    const EVENT: &str = "127.0.0.1\nServerVersion: Apache/2.4.71 (Debian)\nServerMPM: event\n\
        Server Built: 2026-11-12T08:58:41\nParentServerConfigGeneration: 2\n\
        ParentServerMPMGeneration: 1\nServerUptimeSeconds: 2\nServerUptime: 2 seconds\n\
        Total Accesses: 4\nUptime: 2\nReqPerSec: 2\nDurationPerReq: .5\nBusyWorkers: 1\n\
        GracefulWorkers: 0\nIdleWorkers: 9\nProcesses: 3\nStopping: 1\nConnsTotal: 2\n\
        Scoreboard: ..GG._W________.....\n";

    #[test]
    fn a_page_of_event_is_read() {
        let expected = ServerStatus {
            version: Some("Apache/2.4.71 (Debian)".into()),
            mpm: Some("event".into()),
            generation: Some(1),
            uptime: Some(Duration::from_secs(2)),
            accesses: Some(4),
            busy_workers: 1,
            idle_workers: 9,
            graceful_workers: Some(0),
            processes: Some(3),
            stopping: Some(1),
            connections: Some(2),
        };
        assert_eq!(server_status(EVENT.as_bytes()), Ok(expected));
        let with_returns = EVENT.replace('\n', "\r\n");
        assert_eq!(server_status(with_returns.as_bytes()).unwrap().generation, Some(1));
    }

    #[test]
    fn an_old_or_terse_page_tells_less() {
        let read = server_status(b"BusyWorkers: 3\nIdleWorkers: 1\nScoreboard: WWW_....\n");
        let expected = ServerStatus { busy_workers: 3, idle_workers: 1, ..ServerStatus::default() };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn another_page_is_none() {
        for body in [
            &b""[..],
            b"served\n",
            b"<html><body>BusyWorkers: 1</body></html>",
            b"BusyWorkers: 3\nIdleWorkers: 1\n",
            b"BusyWorkers: 3\nScoreboard: _\n",
            b"\xff\xfe\0",
        ] {
            assert_eq!(server_status(body), Err(ServerStatusError::OtherPage));
        }
    }

    #[test]
    fn a_number_that_is_none_makes_the_page_invalid() {
        for (from, to, name) in [
            ("BusyWorkers: 1", "BusyWorkers: many", "BusyWorkers"),
            ("MPMGeneration: 1", "MPMGeneration: 99999999999", "ParentServerMPMGeneration"),
            ("UptimeSeconds: 2", "UptimeSeconds: -2", "ServerUptimeSeconds"),
        ] {
            let body = EVENT.replace(from, to);
            let expected = Err(ServerStatusError::NotANumber(name));
            assert_eq!(server_status(body.as_bytes()), expected);
        }
    }

    #[test]
    fn a_text_that_could_deceive_a_reader_is_left_out() {
        let body = EVENT.replace("event\n", "\u{1b}[31m\n");
        assert_eq!(server_status(body.as_bytes()).unwrap().mpm, None);
        let body = EVENT.replace("event\n", &format!("{}\n", "x".repeat(201)));
        assert_eq!(server_status(body.as_bytes()).unwrap().mpm, None);
    }
}
