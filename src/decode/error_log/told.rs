//! What a person reads of a line: its time, and its message in httpd's words.
//!
//! Slower than [`super::line`]: for lines that matter.

use std::borrow::Cow;

use super::{
    LogLine,
    failure::number,
    json::Members,
    text::{Key, text_and_message},
    time::{LogTime, epoch, time},
};
use crate::model::log::LogLevel;

/// Where a client stands, in bytes.
const LONGEST_HEADER: usize = 512;
/// What keys the time has in JSON.
const TIME_KEYS: [&[u8]; 9] = [
    b"time",
    b"timestamp",
    b"ts",
    b"date",
    b"datetime",
    b"@timestamp",
    b"at",
    b"t",
    b"__realtime_timestamp",
];

/// A line as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'line> {
    /// What the fast decoder says of it.
    pub line: LogLine,
    /// When it was written, if it says so.
    pub time: Option<LogTime>,
    /// The message with its code, and with the system's error before it; not escaped.
    pub message: Cow<'line, [u8]>,
    /// Nothing stands before the message: httpd writes such lines before it has a log, and
    /// whatever runs in a child may.
    pub is_raw: bool,
    /// The message is of a request.
    pub is_of_client: bool,
}

/// Reads one line, without its line feed; whatever the bytes are, there is an answer.
#[must_use]
pub fn told(bytes: &[u8]) -> Told<'_> {
    let start = bytes.iter().position(|byte| !matches!(byte, 0 | b' ' | b'\t'));
    let bytes = start.and_then(|start| bytes.get(start..)).unwrap_or_default();
    if bytes.first() == Some(&b'{') { json(bytes) } else { text(bytes) }
}

/// The number of the code of a line's message as well: 489 of `AH00489`.
#[must_use]
pub fn line_and_number(bytes: &[u8]) -> (LogLine, Option<u32>) {
    if bytes.first() != Some(&b'[') {
        let line = super::line(bytes);
        // Rare enough to be read twice.
        let number = line.code.and_then(|_| number(&told(bytes).message));
        return (line, number);
    }
    let (line, at) = text_and_message(bytes);
    (line, line.code.and_then(|_| number(bytes.get(at..)?)))
}

fn text(bytes: &[u8]) -> Told<'_> {
    let (line, at) = text_and_message(bytes);
    let (header, message) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let time = time(header);
    let is_raw = line.level == LogLevel::None && line.pid.is_none() && time.is_none();
    // `SSLCertificateFile: ..` is no program's name.
    let message = if is_raw && line.code.is_none() { bytes } else { message };
    // The system's error precedes the client.
    let is_of_client = has_client(header) || has_client(message);
    Told { line, time, message: message.trim_ascii_end().into(), is_raw, is_of_client }
}

/// There is an address; where there is none, httpd leaves the bracket open before the message.
fn has_client(part: &[u8]) -> bool {
    let part = part.get(..LONGEST_HEADER).unwrap_or(part);
    ["[client ", "[remote "].iter().any(|word| {
        let at = memchr::memmem::find(part, word.as_bytes());
        let address = at.and_then(|at| part.get(at + word.len()..));
        let is_of_address = |first: &u8| first.is_ascii_alphanumeric() || *first == b':';
        address
            .is_some_and(|text| text.first().is_some_and(is_of_address) && number(text).is_none())
    })
}

fn json(bytes: &[u8]) -> Told<'_> {
    let line = super::line(bytes);
    let (mut when, mut some_time, mut message) = (None, None, None);
    for (key, value) in (Members { rest: bytes }) {
        if TIME_KEYS.iter().any(|name| name.eq_ignore_ascii_case(key)) {
            when = when.or_else(|| epoch(value).or_else(|| time(value)));
        } else if Key::named(key) == Key::Message {
            message = message.or(Some(value));
        } else if some_time.is_none() && value.first().is_some_and(u8::is_ascii_digit) {
            some_time = time(value);
        }
    }
    let inner = message.map(text);
    let told = inner.as_ref().and_then(|inner| inner.time);
    let is_of_client = inner.as_ref().is_some_and(|inner| inner.is_of_client)
        || memchr::memmem::find(bytes, b"\"client\":\"").is_some();
    let message = inner.map_or_else(|| bytes.into(), |inner| unescaped(inner.message));
    Told { line, time: when.or(told).or(some_time), message, is_raw: false, is_of_client }
}

/// Quotes and backslashes of a JSON text; what else is escaped stays so.
fn unescaped(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', &text).is_none() {
        return text;
    }
    let text = text.strip_suffix(b"\\n").unwrap_or(&text);
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        let escaped = rest.next_if(|next| byte == b'\\' && matches!(next, b'"' | b'\\' | b'/'));
        plain.push(escaped.unwrap_or(byte));
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> String {
        String::from_utf8_lossy(&told(line.as_bytes()).message).into_owned()
    }

    #[test]
    fn a_message_begins_with_the_systems_error_or_its_code() {
        let mutex = "(28)No space left on device: AH00023: Couldn't create the proxy mutex";
        for line in [
            format!("[Sun Nov 22 10:48:52.523261 2026] [core:emerg] [pid 1:tid 1] {mutex} "),
            format!("[core:emerg] [pid 1:tid 1] {mutex}"),
            format!("Nov 22 10:48:52 host httpd[1]: [core:emerg] [pid 1] {mutex}"),
            format!("2026-11-22 10:48:52 emerg {mutex}"),
            format!("{{\"time\":\"2026-11-22 10:48:52\",\"level\":\"emerg\",\"msg\":\"{mutex}\"}}"),
            format!("{{\"log\":\"[Sun Nov 22 10:48:52 2026] [core:emerg] [pid 1] {mutex}\\n\"}}"),
            mutex.to_owned(),
        ] {
            assert_eq!(message(&line), mutex, "{line}");
        }
        let no_code =
            "[Sun Nov 22 10:48:52 2026] [mpm_event:alert] [pid 1:tid 1] no listening sockets";
        assert_eq!(message(no_code), "no listening sockets");
        let raw = "SSLCertificateFile: file '/x' does not exist or is empty";
        assert_eq!(message(raw), raw);
        assert!(told(raw.as_bytes()).is_raw);
        assert_eq!(message("{\"msg\":\"a \\\"b\\\" \\\\ \\x1b\"}"), "a \"b\" \\ \\x1b");
    }

    #[test]
    fn a_line_of_a_request_is_told_from_one_of_the_server() {
        for line in [
            "[t] [core:crit] [pid 1] (24)Too many open files: [client ::1:1] AH00529: x",
            "[t] [core:crit] [pid 1] [client ::1:1] AH00529: x",
        ] {
            assert!(told(line.as_bytes()).is_of_client, "{line}");
        }
        assert!(!told(b"[t] [core:crit] [pid 1] AH00102: x").is_of_client);
    }
}
