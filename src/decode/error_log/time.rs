//! When a line says that it was written, as far as it says so.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

/// No time begins later than that in what comes before a message.
const LONGEST_HEADER: usize = 256;
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
const DAYS: &[u8; 21] = b"MonTueWedThuFriSatSun";
/// For times without a year: one that has a 29 February.
const LEAP_YEAR: i16 = 2000;

/// A time as a line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTime {
    /// It says its zone, or counts from the epoch.
    Absolute(Timestamp),
    /// `[Sun Nov 22 10:30:00.123456 2026]`, `2026-11-22 10:30:00.123456`: by the host's clock.
    Local(DateTime),
    /// `Nov 22 10:30:00`, as syslog has it; the year is no year of the line's.
    Yearless(DateTime),
}

/// The time in what comes before a message: the one that leaves the least open.
pub(super) fn time(header: &[u8]) -> Option<LogTime> {
    let header = header.get(..LONGEST_HEADER).unwrap_or(header);
    let mut best = epoch(header);
    let mut before = b' ';
    for (at, byte) in header.iter().enumerate() {
        let begins = !before.is_ascii_alphanumeric() && !matches!(before, b'.' | b'/' | b'-');
        before = *byte;
        if !begins || !byte.is_ascii_alphanumeric() {
            continue;
        }
        let Some(found) = header.get(at..).and_then(one_of) else { continue };
        if best.is_none_or(|best| found.rank() < best.rank()) {
            best = Some(found);
        }
    }
    best
}

impl LogTime {
    const fn rank(self) -> u8 {
        match self {
            Self::Absolute(_) => 0,
            Self::Local(_) => 1,
            Self::Yearless(_) => 2,
        }
    }
}

/// Seconds, milliseconds or microseconds since the epoch, at the very beginning.
pub(super) fn epoch(text: &[u8]) -> Option<LogTime> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if text.get(digits).is_some_and(|byte| !matches!(byte, b' ' | b'.' | b'\t' | b',')) {
        return None;
    }
    let micros = match digits {
        10 => {
            let (seconds, rest) = number(text, 10)?;
            seconds * 1_000_000 + rest.strip_prefix(b".").map_or(0, fraction)
        }
        13 => number(text, 13)?.0 * 1000,
        16 => number(text, 16)?.0,
        _ => return None,
    };
    Timestamp::from_microsecond(micros).ok().map(LogTime::Absolute)
}

fn one_of(text: &[u8]) -> Option<LogTime> {
    if text.first()?.is_ascii_digit() {
        return numeric(text);
    }
    named(DAYS, text).and_then(|(_, rest)| calendar(rest.strip_prefix(b" ")?)).or_else(|| {
        let (at, _) = month_to_second(text)?;
        Some(LogTime::Yearless(at))
    })
}

/// `Nov 22 10:30:00.123456 2026`, after the name of the day.
fn calendar(text: &[u8]) -> Option<LogTime> {
    let (at, rest) = month_to_second(text)?;
    let (year, _) = number(rest.strip_prefix(b" ")?, 4)?;
    at.with().year(i16::try_from(year).ok()?).build().ok().map(LogTime::Local)
}

fn month_to_second(text: &[u8]) -> Option<(DateTime, &[u8])> {
    let (month, rest) = named(MONTHS, text)?;
    let rest = rest.strip_prefix(b" ")?;
    let (day, rest) = match rest.strip_prefix(b" ") {
        Some(rest) => number(rest, 1)?,
        None => number(rest, 2).or_else(|| number(rest, 1))?,
    };
    clock(i64::from(LEAP_YEAR), i64::from(month), day, rest.strip_prefix(b" ")?)
}

/// `2026-11-22T10:30:00.123456+01:00`, `2026-11-22 10:30:00`, `2026/11/22 10:30:00`.
fn numeric(text: &[u8]) -> Option<LogTime> {
    let (year, rest) = number(text, 4)?;
    let separator = *rest.first().filter(|byte| matches!(byte, b'-' | b'/'))?;
    let (month, rest) = number(rest.get(1..)?, 2)?;
    let (day, rest) = number(rest.strip_prefix(&[separator])?, 2)?;
    let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b" "))?;
    let (at, rest) = clock(year, month, day, rest)?;
    match offset(rest) {
        Some(offset) => offset.to_timestamp(at).ok().map(LogTime::Absolute),
        None => Some(LogTime::Local(at)),
    }
}

/// `10:30:00.123456` of this day, and what follows it.
fn clock(year: i64, month: i64, day: i64, text: &[u8]) -> Option<(DateTime, &[u8])> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let of_second = rest.strip_prefix(b".").or_else(|| rest.strip_prefix(b","));
    let of_second = of_second.filter(|text| text.first().is_some_and(u8::is_ascii_digit));
    let (micros, rest) = match of_second {
        None => (0, rest),
        Some(text) => {
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (fraction(text), text.get(digits..)?)
        }
    };
    let [month, day, hour, minute, second] =
        [month, day, hour, minute, second].map(|part| i8::try_from(part).unwrap_or(-1));
    let nanos = i32::try_from(micros * 1000).ok()?;
    // A leap second is the last one that there is a name for.
    let second = second.min(59);
    let year = i16::try_from(year).ok()?;
    Some((DateTime::new(year, month, day, hour, minute, second, nanos).ok()?, rest))
}

/// `Z`, `+01:00`, `-0500`.
fn offset(text: &[u8]) -> Option<Offset> {
    let sign = match text.first()? {
        b'Z' if !text.get(1).is_some_and(u8::is_ascii_alphabetic) => return Some(Offset::UTC),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = text.get(1..)?.split_at_checked(2)?;
    let (hours, _) = number(hours, 2)?;
    let (minutes, _) = number(rest.strip_prefix(b":").unwrap_or(rest), 2)?;
    let seconds = i32::try_from(sign * (hours * 60 + minutes) * 60).ok()?;
    Offset::from_seconds(seconds).ok()
}

/// Microseconds, of however many digits there are.
fn fraction(text: &[u8]) -> i64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let digits = digits.copied().chain(std::iter::repeat(b'0')).take(6);
    digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// A number of exactly so many digits, at most 16, and what follows it.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (word, rest) = text.split_at_checked(digits)?;
    let is_whole = word.iter().all(u8::is_ascii_digit)
        && !rest.first().is_some_and(|byte| digits < 16 && byte.is_ascii_digit());
    let value = || word.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    is_whole.then(|| (value(), rest))
}

/// The name that a text begins with, counted from 1.
fn named<'text>(names: &[u8], text: &'text [u8]) -> Option<(i8, &'text [u8])> {
    let (word, rest) = text.split_at_checked(3)?;
    let at = names.chunks(3).position(|name| name == word)?;
    Some((i8::try_from(at + 1).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> String {
        match time(header.as_bytes()) {
            Some(LogTime::Absolute(at)) => at.to_string(),
            Some(LogTime::Local(at)) => at.to_string(),
            Some(LogTime::Yearless(at)) => at.to_string().replacen("2000", "?", 1),
            None => "-".to_owned(),
        }
    }

    #[test]
    fn times_are_read_as_formats_and_log_drivers_write_them() {
        for (header, expected) in [
            ("[Sun Nov 22 10:30:00.123456 2026] [core:notice] ", "2026-11-22T10:30:00.123456"),
            ("[Sun Nov  2 10:30:00 2026] ", "2026-11-02T10:30:00"),
            ("[2026-11-22 10:38:22.146666] [x:notice]", "2026-11-22T10:38:22.146666"),
            ("2026-11-22 10:38:22 notice ", "2026-11-22T10:38:22"),
            ("2026/11/22 10:38:22,5 ", "2026-11-22T10:38:22.5"),
            ("2026-11-22T10:38:22.5+01:00 host ", "2026-11-22T09:38:22.5Z"),
            ("2026-11-22T10:38:22-0500 ", "2026-11-22T15:38:22Z"),
            (
                "2026-11-22T10:38:22.123456789Z stderr F [Sun Nov 22 11:38:22 2026]",
                "2026-11-22T10:38:22.123456Z",
            ),
            ("Nov 22 10:30:00 web1 httpd[12]: ", "?-11-22T10:30:00"),
            ("<29>Nov  2 10:30:00 httpd[12]: [mpm_event:notice]", "?-11-02T10:30:00"),
            (
                "Nov 22 10:30:00 web1 httpd[1]: [Sun Nov 22 10:30:00.5 2026]",
                "2026-11-22T10:30:00.5",
            ),
            ("1795344388251 <29>Nov 22 10:46:28 x[9]: ", "2026-11-22T10:46:28.251Z"),
            ("1795344388.251 ", "2026-11-22T10:46:28.251Z"),
            ("time=\"2026-11-22T10:38:22\" ", "2026-11-22T10:38:22"),
            ("[Sat Dec 31 23:59:60 2016]", "2016-12-31T23:59:59"),
            ("[Sun Feb 30 10:30:00 2026]", "-"),
            ("[pid 1795344388:tid 2] x", "-"),
            ("AH00526: Syntax error on line 51", "-"),
            ("17953443882511234567890 x", "-"),
            ("", "-"),
        ] {
            assert_eq!(shown(header), expected, "{header}");
        }
    }
}
