//! Lines that are JSON objects, as `ErrorLogFormat`s write them: httpd escapes what stands between
//! the quotes in its own way (`\x1b`), so that no strict parser would take every line.

use memchr::{memchr, memchr2};

use super::{
    LogLine,
    text::{Key, text},
    words::{code, level, pid},
};
use crate::model::{
    log::{LogCode, LogLevel},
    process::Pid,
};

/// The members of an object and of those within it, as one sequence; elements of arrays are left
/// out.
pub(super) struct Members<'line> {
    pub(super) rest: &'line [u8],
}

/// What the keys that are known say, and what is taken for want of them.
#[derive(Default)]
struct Found {
    level: Option<LogLevel>,
    some_level: Option<LogLevel>,
    pid: Option<Pid>,
    message: Option<LogLine>,
    some_code: Option<LogCode>,
}

/// Reads a line that begins with `{`.
pub(super) fn json(line: &[u8]) -> LogLine {
    let mut found = Found::default();
    for (key, value) in (Members { rest: line }) {
        found.take(Key::named(key), value);
        if found.level.is_some() && found.pid.is_some() && found.message.is_some() {
            break;
        }
    }
    let message = found.message.unwrap_or(LogLine { code: found.some_code, ..LogLine::UNKNOWN });
    let told = (message.level != LogLevel::None).then_some(message.level);
    LogLine {
        level: found.level.or(told).or(found.some_level).unwrap_or(LogLevel::None),
        code: message.code,
        pid: found.pid.or(message.pid),
    }
}

impl Found {
    /// The first member of a kind counts: the format's own, before whatever a request adds.
    fn take(&mut self, key: Key, value: &[u8]) {
        match key {
            Key::Level => self.level = self.level.or_else(|| level(value)),
            Key::Pid => {
                let number = value.strip_prefix(b"pid ").unwrap_or(value);
                self.pid = self.pid.or_else(|| pid(number));
            }
            Key::Message => self.message = self.message.or_else(|| Some(text(value))),
            Key::Unknown => {
                self.some_level = self.some_level.or_else(|| level(value));
                self.some_code = self.some_code.or_else(|| code(value));
            }
        }
    }
}

impl<'line> Iterator for Members<'line> {
    type Item = (&'line [u8], &'line [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let opening = memchr(b'"', self.rest)?;
            self.rest = self.rest.get(opening + 1..)?;
            let key = self.string()?;
            let Some(value) = self.rest.trim_ascii_start().strip_prefix(b":") else { continue };
            self.rest = value.trim_ascii_start();
            match *self.rest.first()? {
                b'"' => {
                    self.rest = self.rest.get(1..)?;
                    return Some((key, self.string()?));
                }
                b'{' | b'[' => {}
                _ => {
                    let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'"' | b' ');
                    let end = self.rest.iter().position(is_end)?;
                    let (value, rest) = self.rest.split_at_checked(end)?;
                    self.rest = rest;
                    return Some((key, value));
                }
            }
        }
    }
}

impl<'line> Members<'line> {
    /// What comes before the closing quote, or before the end of what was kept of a long line.
    fn string(&mut self) -> Option<&'line [u8]> {
        let all = self.rest;
        let mut end = 0;
        loop {
            let after = all.get(end..)?;
            match memchr2(b'"', b'\\', after) {
                Some(at) if after.get(at) == Some(&b'\\') => end += at + 2,
                Some(at) => {
                    self.rest = all.get(end + at + 1..)?;
                    return all.get(..end + at);
                }
                None => {
                    self.rest = &[];
                    return Some(all);
                }
            }
        }
    }
}
