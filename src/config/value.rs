//! What a value may be: from TOML as typed to a checked value, and back to what is shown.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::geteuid;
use toml::{Spanned, de::DeValue};

use super::{duration, error::Cause, url::Url, window};
use crate::trusted_path::{Distrust, trusted_file};

/// A value as typed, with its place in the text.
pub(super) type Typed<'text> = Spanned<DeValue<'text>>;

/// What is wrong with a value, and where in the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) cause: Cause,
}

/// A word with a meaning of its own, or something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WordOr<T> {
    Word(&'static str),
    Other(T),
}

/// A text of this length is quoted whole in a message.
const QUOTED: usize = 80;

/// systemd's own limit, without `.service`.
const LONGEST_UNIT: usize = 255 - ".service".len();
/// What runs no httpd.
const OTHER_UNITS: [&str; 6] = [".socket", ".target", ".timer", ".path", ".slice", ".scope"];

/// What TOML calls no printable character, and what would turn or hide the text around it.
const INVISIBLE: [RangeInclusive<char>; 5] = [
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{2064}',
    '\u{2066}'..='\u{2069}',
    '\u{feff}'..='\u{feff}',
];

pub(super) fn duration_between(
    range: RangeInclusive<Duration>,
) -> impl Fn(&Typed<'_>) -> Result<Duration, Fault> {
    move |typed| {
        let parsed = text_of(typed).and_then(duration::parse);
        let found = parsed.ok_or_else(|| must_be(typed, "a duration such as \"1s\""))?;
        if range.contains(&found) {
            return Ok(found);
        }
        let [least, most] = [range.start(), range.end()].map(|end| duration::text(*end));
        let is = duration::text(found);
        Err(fault(typed, Cause::Value { must: format!("between {least} and {most}"), is }))
    }
}

pub(super) fn number_between(
    range: RangeInclusive<i64>,
) -> impl Fn(&Typed<'_>) -> Result<i64, Fault> {
    move |typed| {
        let number = typed.get_ref().as_integer();
        let number = number.and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            must_be(typed, &format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }
}

pub(super) fn boolean(typed: &Typed<'_>) -> Result<bool, Fault> {
    typed.get_ref().as_bool().ok_or_else(|| must_be(typed, "true or false"))
}

pub(super) fn one_of(
    words: &'static [&'static str],
) -> impl Fn(&Typed<'_>) -> Result<&'static str, Fault> {
    move |typed| {
        word_of(typed, words).ok_or_else(|| {
            must_be(typed, &alternatives(words.iter().map(|word| format!("{word:?}"))))
        })
    }
}

/// Printable text, as it can stand in a label, a log line and a terminal.
pub(super) fn text(typed: &Typed<'_>) -> Result<String, Fault> {
    text_of(typed)
        .filter(|text| is_printable(text) && text.trim() == *text)
        .map(str::to_owned)
        .ok_or_else(|| must_be(typed, "printable text that is not empty"))
}

/// A text that says something, on as many lines as it likes.
pub(super) fn expression(typed: &Typed<'_>) -> Result<String, Fault> {
    text_of(typed)
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned)
        .ok_or_else(|| must_be(typed, "a text that is not empty"))
}

/// A text, empty too, without NUL: what a program can be given.
pub(super) fn argument(typed: &Typed<'_>) -> Result<String, Fault> {
    text_of(typed)
        .filter(|text| !text.contains('\0'))
        .map(str::to_owned)
        .ok_or_else(|| must_be(typed, "a text without NUL"))
}

pub(super) fn absolute_path(typed: &Typed<'_>) -> Result<PathBuf, Fault> {
    text_of(typed)
        .filter(|text| is_printable(text) && Path::new(text).is_absolute())
        .map(PathBuf::from)
        .ok_or_else(|| must_be(typed, "an absolute path"))
}

pub(super) fn url(typed: &Typed<'_>) -> Result<Url, Fault> {
    text_of(typed)
        .and_then(Url::parse)
        .ok_or_else(|| must_be(typed, "an http or https URL without credentials"))
}

/// A URL to ask without TLS.
pub(super) fn plain_url(typed: &Typed<'_>) -> Result<Url, Fault> {
    text_of(typed).and_then(Url::parse).filter(Url::is_plain).ok_or_else(|| {
        must_be(typed, "an http URL without credentials, as https is not spoken here")
    })
}

/// A file that gracekeeper will run or have read by a shell. As root it refuses one that others
/// may change; that there is none yet is no error.
pub(super) fn own_file(typed: &Typed<'_>) -> Result<PathBuf, Fault> {
    let path = absolute_path(typed)?;
    if geteuid().is_root()
        && let Err(distrust @ Distrust::Exposed { .. }) = trusted_file(&path, 0)
    {
        return Err(fault(typed, Cause::Distrusted(distrust.to_string())));
    }
    Ok(path)
}

/// A systemd service, without `.service`.
pub(super) fn unit(typed: &Typed<'_>) -> Result<String, Fault> {
    let is_unit = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\@-".contains(&byte);
        !name.is_empty() && name.len() <= LONGEST_UNIT && name.bytes().all(is_plain)
    };
    text_of(typed)
        .map(|text| text.strip_suffix(".service").unwrap_or(text))
        .filter(|name| is_unit(name))
        .filter(|name| !OTHER_UNITS.iter().any(|other| name.ends_with(other)))
        .map(str::to_owned)
        .ok_or_else(|| must_be(typed, "the name of a systemd service"))
}

pub(super) fn time_window(typed: &Typed<'_>) -> Result<String, Fault> {
    text_of(typed)
        .filter(|text| window::is_window(text))
        .map(str::to_owned)
        .ok_or_else(|| must_be(typed, "a window such as \"Mon-Fri 02:00-05:00 Europe/Berlin\""))
}

pub(super) fn list_of<T>(
    read: impl Fn(&Typed<'_>) -> Result<T, Fault>,
) -> impl Fn(&Typed<'_>) -> Result<Vec<T>, Fault> {
    move |typed| {
        let array = typed.get_ref().as_array().ok_or_else(|| must_be(typed, "a list"))?;
        array.iter().map(&read).collect()
    }
}

pub(super) fn word_or<T>(
    words: &'static [&'static str],
    read: impl Fn(&Typed<'_>) -> Result<T, Fault>,
) -> impl Fn(&Typed<'_>) -> Result<WordOr<T>, Fault> {
    move |typed| {
        if let Some(word) = word_of(typed, words) {
            return Ok(WordOr::Word(word));
        }
        read(typed).map(WordOr::Other).map_err(|mut fault| {
            if let Cause::Value { must, .. } = &mut fault.cause {
                *must = alternatives(
                    words.iter().map(|word| format!("{word:?}")).chain([must.clone()]),
                );
            }
            fault
        })
    }
}

/// A setting that need not be made.
pub(super) fn optional<T>(
    read: impl Fn(&Typed<'_>) -> Result<T, Fault>,
) -> impl Fn(&Typed<'_>) -> Result<Option<T>, Fault> {
    move |typed| read(typed).map(Some)
}

pub(super) fn fault(typed: &Typed<'_>, cause: Cause) -> Fault {
    Fault { at: typed.span().start, cause }
}

pub(super) fn must_be(typed: &Typed<'_>, must: &str) -> Fault {
    fault(typed, Cause::Value { must: must.to_owned(), is: description(typed.get_ref()) })
}

/// A text in quotes and on one line, cut off where nobody would read on.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTED).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("{short:?}{more}")
}

pub(super) fn is_printable(text: &str) -> bool {
    let is_invisible = |letter: char| INVISIBLE.iter().any(|range| range.contains(&letter));
    !text.is_empty() && !text.chars().any(|letter| letter.is_control() || is_invisible(letter))
}

fn text_of<'typed>(typed: &'typed Typed<'_>) -> Option<&'typed str> {
    typed.get_ref().as_str()
}

fn word_of(typed: &Typed<'_>, words: &[&'static str]) -> Option<&'static str> {
    let text = text_of(typed)?;
    words.iter().find(|word| **word == text).copied()
}

/// `"off"`; `"off" or "act"`; `"off", "advise" or "act"`.
fn alternatives(phrases: impl Iterator<Item = String>) -> String {
    let phrases: Vec<String> = phrases.collect();
    match phrases.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn description(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => format!("the integer {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("the boolean {value}"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

impl<T> WordOr<T> {
    /// What was given instead of a word.
    pub(super) fn other(self) -> Option<T> {
        match self {
            Self::Word(_) => None,
            Self::Other(other) => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_deceive_a_reader_is_not_printable() {
        for text in ["main", "www.example.org", "Grüße", "a b", "日本"] {
            assert!(is_printable(text), "{text}");
        }
        for text in ["", "a\nb", "\u{7f}", "\u{9b}31m", "a\u{202e}b", "a\u{200b}b", "\u{2028}"] {
            assert!(!is_printable(text), "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_quoted_in_part() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"é".repeat(81)), format!("\"{}\"...", "é".repeat(80)));
    }

    #[test]
    fn alternatives_read_as_a_sentence() {
        let alternatives = |phrases: &[&str]| alternatives(phrases.iter().map(ToString::to_string));
        assert_eq!(alternatives(&["a"]), "a");
        assert_eq!(alternatives(&["a", "b", "c"]), "a, b or c");
    }
}
