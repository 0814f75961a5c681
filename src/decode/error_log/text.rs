//! Lines that are text: what stands before the message is walked through, part by part.

use memchr::{memchr, memmem, memrchr};

use super::{
    LogLine,
    words::{code, level, pid},
};
use crate::model::log::LogLevel;

/// What comes before a message is far shorter, whatever the format; no more is looked at.
const LONGEST_HEADER: usize = 1024;
/// A host, and a module that the format does not put beside its level.
const MOST_UNKNOWN_WORDS: u8 = 2;
/// What keys the message has, in JSON and where a format writes `key="value"`.
const MESSAGE_KEYS: [&[u8]; 7] = [b"msg", b"message", b"error", b"errmsg", b"text", b"log", b"m"];
/// Likewise the level.
const LEVEL_KEYS: [&[u8]; 8] =
    [b"level", b"severity", b"lvl", b"loglevel", b"log_level", b"sev", b"priority", b"l"];
/// Likewise the process.
const PID_KEYS: [&[u8]; 6] = [b"pid", b"process", b"process_id", b"processid", b"proc", b"p"];

/// What a key of JSON or of `key=value` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Level,
    Pid,
    Message,
    Unknown,
}

/// How sure it is what comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing but words that any message could begin with.
    Start,
    /// After a time or a level without brackets: of a format of the operator's own.
    OwnFormat,
    /// After a level in brackets: groups, then the message.
    Groups,
    /// After the client's address, the last group that httpd writes: what follows may be anybody's.
    Client,
}

struct Walk<'line> {
    rest: &'line [u8],
    found: LogLine,
    place: Place,
    unknown_words: u8,
    /// What was left where the last error of the system begins.
    at_error: usize,
}

/// Reads a line that is no JSON.
pub(super) fn text(line: &[u8]) -> LogLine {
    walk(line).0.found
}

/// Reads it, and says where the message begins, at the system's error if one precedes it.
pub(super) fn text_and_message(line: &[u8]) -> (LogLine, usize) {
    let (walk, length) = walk(line);
    (walk.found, length - walk.at_error.max(walk.rest.len()).min(length))
}

fn walk(line: &[u8]) -> (Walk<'_>, usize) {
    let rest = line.get(..LONGEST_HEADER).unwrap_or(line);
    let found = LogLine::UNKNOWN;
    let mut walk = Walk { rest, found, place: Place::Start, unknown_words: 0, at_error: 0 };
    while walk.step().is_some() {}
    (walk, rest.len())
}

impl Key {
    /// Keys may be written with capitals and, as `log.level`, with the object that they are of.
    pub(super) fn named(name: &[u8]) -> Self {
        let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
        let is_of = |keys: &[&[u8]]| keys.iter().any(|key| key.eq_ignore_ascii_case(last));
        if is_of(&LEVEL_KEYS) {
            Self::Level
        } else if is_of(&PID_KEYS) {
            Self::Pid
        } else if is_of(&MESSAGE_KEYS) {
            Self::Message
        } else {
            Self::Unknown
        }
    }
}

impl<'line> Walk<'line> {
    /// Takes one part; `None` at the message, or where nothing is recognised any more.
    fn step(&mut self) -> Option<()> {
        let blanks = self.rest.iter().take_while(|byte| is_separator(**byte)).count();
        self.skip(blanks)?;
        match *self.rest.first()? {
            b'[' => self.group(),
            b'(' => self.system_error(),
            b'A' if self.message() => None,
            _ => self.word(),
        }
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }

    fn message(&mut self) -> bool {
        self.found.code = code(self.rest);
        self.found.code.is_some()
    }

    /// `[mpm_event:notice]`, `[pid 123:tid 456]`, `[client 192.0.2.1:4711]`, and others.
    fn group(&mut self) -> Option<()> {
        let end = memchr(b']', self.rest);
        let group = self.rest.get(1..end.unwrap_or(self.rest.len()))?;
        let after = without_value(group);
        if let Some(number) = group.strip_prefix(b"pid ") {
            self.found.pid = self.found.pid.or_else(|| pid(number));
        } else if self.place == Place::Client {
            return None;
        } else if self.found.level == LogLevel::None {
            if let Some(level) = level(group) {
                self.found.level = level;
                self.place = Place::Groups;
            }
        } else if group.starts_with(b"client ") || group.starts_with(b"remote ") {
            self.place = Place::Client;
        }
        if self.place == Place::Start {
            self.place = Place::OwnFormat;
        }
        match after {
            Some(after) => self.skip(1 + after),
            None => self.skip(end? + 1),
        }
    }

    /// `(98)Address already in use: `, of which a format may have left out the colon.
    fn system_error(&mut self) -> Option<()> {
        let number = self.rest.get(1..)?;
        let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 || number.get(digits) != Some(&b')') {
            return None;
        }
        let colon = memmem::find(self.rest, b": ")?;
        self.at_error = self.at_error.max(self.rest.len());
        let blank = memrchr(b' ', self.rest.get(..colon)?);
        let word = blank.filter(|blank| self.rest.get(blank + 1..).and_then(code).is_some());
        self.skip(word.unwrap_or(colon + 1))
    }

    fn word(&mut self) -> Option<()> {
        let end =
            self.rest.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'|' | b',' | b';'));
        let end = end.unwrap_or(self.rest.len());
        let word = self.rest.get(..end)?;
        // `core.c(4711):`, written at debug and above.
        if word.ends_with(b"):") && memchr(b'(', word).is_some() {
            return self.skip(end);
        }
        match self.place {
            Place::Groups | Place::Client => None,
            Place::Start | Place::OwnFormat => self.word_of_own_format(word),
        }
    }

    fn word_of_own_format(&mut self, word: &'line [u8]) -> Option<()> {
        if let Some(equals) = memchr(b'=', word) {
            let key = Key::named(word.get(..equals)?);
            self.skip(equals + 1)?;
            return self.value(key);
        }
        let bare = word.strip_prefix(b"<").unwrap_or(word);
        let bare = bare.strip_suffix(b":").or_else(|| bare.strip_suffix(b">")).unwrap_or(bare);
        if let Some(level) = level(bare)
            && self.found.level == LogLevel::None
        {
            self.found.level = level;
            self.place = Place::OwnFormat;
        } else if bare == b"pid" || bare == b"tid" {
            let number = self.rest.get(word.len()..)?.trim_ascii_start();
            if bare == b"pid" {
                self.found.pid = self.found.pid.or_else(|| pid(number));
            }
        } else if is_of_time(word) {
            self.place = Place::OwnFormat;
        } else if !is_name(word)
            || (self.place == Place::Start && !word.ends_with(b":"))
            || self.unknown_words == MOST_UNKNOWN_WORDS
        {
            return None;
        } else {
            self.unknown_words += 1;
        }
        self.skip(word.len())
    }

    /// `notice`, `"notice"`, `"AH00489: .."`, after the key and its `=`.
    fn value(&mut self, key: Key) -> Option<()> {
        self.place = if self.place == Place::Start { Place::OwnFormat } else { self.place };
        let quoted = self.rest.first() == Some(&b'"');
        self.skip(usize::from(quoted))?;
        if key == Key::Message {
            // Whatever it begins with is the message.
            self.place = Place::Client;
            return Some(());
        }
        let is_end = |byte: &u8| if quoted { *byte == b'"' } else { is_separator(*byte) };
        let end = self.rest.iter().position(is_end)?;
        let value = self.rest.get(..end)?;
        match key {
            Key::Level if self.found.level == LogLevel::None => {
                self.found.level = level(value).unwrap_or(LogLevel::None);
            }
            Key::Pid => self.found.pid = self.found.pid.or_else(|| pid(value)),
            Key::Level | Key::Message | Key::Unknown => {}
        }
        self.skip(end + usize::from(quoted))
    }
}

/// Where a group ends that its bracket is missing of: httpd leaves out a value that it does not
/// have with what follows it up to the blank, so that prefork's `[pid %P:tid %T] %M` comes out as
/// `[pid 123:tid AH00163: ..`.
fn without_value(group: &[u8]) -> Option<usize> {
    let of_a_label = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b':' | b' ')
    };
    let end = group.iter().position(|byte| !of_a_label(byte))?;
    let (label, after) = group.split_at_checked(end)?;
    let is_next_part = matches!(after.first(), Some(b'[' | b'(')) || code(after).is_some();
    (label.ends_with(b" ") && is_next_part).then_some(end)
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'|' | b',' | b';' | b'-')
}

/// A date, a time, a number, syslog's `<29>`, or a name that dates are written with.
fn is_of_time(word: &[u8]) -> bool {
    const NAMES: &[u8] =
        b"Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let word = match memchr(b'>', word) {
        Some(end) if word.starts_with(b"<") => word.get(end + 1..).unwrap_or_default(),
        Some(_) | None => word,
    };
    match word {
        [] => true,
        [first, ..] if first.is_ascii_digit() => true,
        [_, _, _] => NAMES.split(|byte| *byte == b' ').any(|name| name == word),
        _ => false,
    }
}

/// A host's or a module's name, or a program's as syslog writes it: `httpd[123]:`.
fn is_name(word: &[u8]) -> bool {
    let of_a_name = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'[' | b']')
    };
    word.iter().all(of_a_name)
}
