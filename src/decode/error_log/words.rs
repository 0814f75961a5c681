//! The words of a line: levels, codes, process numbers.

use crate::model::{
    log::{LogCode, LogLevel},
    process::Pid,
};

/// A level as httpd writes it, alone or after its module and a colon.
pub(super) fn level(word: &[u8]) -> Option<LogLevel> {
    let colon = memchr::memrchr(b':', word);
    let word = colon.and_then(|colon| word.get(colon + 1..)).unwrap_or(word);
    Some(match word {
        b"emerg" => LogLevel::Emerg,
        b"alert" => LogLevel::Alert,
        b"crit" => LogLevel::Crit,
        b"error" => LogLevel::Error,
        b"warn" => LogLevel::Warn,
        b"notice" => LogLevel::Notice,
        b"info" => LogLevel::Info,
        b"debug" => LogLevel::Debug,
        [b't', b'r', b'a', b'c', b'e', b'1'..=b'8'] => LogLevel::Trace,
        _ => return None,
    })
}

/// The code that a message begins with. One has six digits: `AH010033`, of `mod_watchdog`.
pub(super) fn code(message: &[u8]) -> Option<LogCode> {
    let digits = message.strip_prefix(b"AH")?;
    let count = digits.iter().take(7).take_while(|byte| byte.is_ascii_digit()).count();
    if !(5..=6).contains(&count) || !matches!(digits.get(count), Some(b':' | b' ')) {
        return None;
    }
    let word = message.get(..2 + count)?;
    let (_, known) = LogCode::ALL.split_last()?;
    let found = known.binary_search_by(|code| code.label().as_bytes().cmp(word));
    Some(found.ok().and_then(|at| known.get(at)).copied().unwrap_or(LogCode::Other))
}

/// The number that a text begins with, if a process can have it.
pub(super) fn pid(text: &[u8]) -> Option<Pid> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if text.get(digits).is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let number = text.get(..digits)?.iter().try_fold(0_i32, |number, digit| {
        number.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
    });
    number.and_then(Pid::new)
}
