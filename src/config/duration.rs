//! Durations as people write them: `100ms`, `60s`, `1h30m`.

use std::{fmt::Write as _, time::Duration};

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration: whole numbers, each with a unit, larger units first.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(letters)?;
        // The iterator only goes on, so that `1s1h` and `1s1s` are refused.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(millis))
}

/// Writes a duration so that [`parse`] reads it again; below a millisecond it is cut off.
///
/// Up to two minutes and two hours it keeps to the smaller unit, as one would say it: `60s`, `90m`.
#[must_use]
pub fn text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS {
        let least = if text.is_empty() && factor > 1000 { 2 * factor } else { factor };
        if rest >= least {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{unit}", rest / factor);
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in [
            ("100ms", 100),
            ("1s", 1000),
            ("0s", 0),
            ("0ms", 0),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("72h", 259_200_000),
            ("1h2m3s4ms", 3_723_004),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            " 1s",
            "1s ",
            "1d",
            "1S",
            "1s1s",
            "1s1h",
            "1m30",
            "1µs",
            "99999999999999999999s",
            "18446744073709551615h",
            "١s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_one_says_them() {
        for (millis, expected) in [
            (0, "0s"),
            (5, "5ms"),
            (1000, "1s"),
            (1500, "1s500ms"),
            (60_000, "60s"),
            (300_000, "5m"),
            (150_000, "2m30s"),
            (5_400_000, "90m"),
            (7_260_000, "2h1m"),
            (259_200_000, "72h"),
        ] {
            assert_eq!(text(Duration::from_millis(millis)), expected);
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_is_read_as_the_same(millis: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&text(duration)), Some(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse(&text);
        }
    }
}
