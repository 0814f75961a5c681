//! Names and numbers as people read them.

use crate::decode::error_log::escaped;

/// `55 ms`, `1.2 s`, `2 min 5 s`, `3 h 2 min`; what is between two is the nearer one.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let rounded = |parts: f64| std::time::Duration::try_from_secs_f64((seconds * parts).round());
    let rounded = |parts| rounded(parts).unwrap_or_default().as_secs();
    let (millis, tenths, seconds) = (rounded(1000.0), rounded(10.0), rounded(1.0));
    let minutes = (seconds + 30) / 60;
    if millis < 1000 {
        format!("{millis} ms")
    } else if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else if seconds < 3600 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}

/// Words that do nothing to a terminal, in at most so many bytes; dots end what was cut.
#[must_use]
pub fn shortened(words: &str, most: usize) -> String {
    let whole = escaped(words.as_bytes(), most);
    if whole.len() < words.len() || escaped(words.as_bytes(), usize::MAX).len() > most {
        return escaped(words.as_bytes(), most.saturating_sub(3)) + "...";
    }
    whole
}

/// `once`, `twice`, `3 times`.
#[must_use]
pub fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_as_many_digits_as_people_want() {
        for (seconds, words) in [
            (0.0, "0 ms"),
            (0.0545, "55 ms"),
            (0.9996, "1.0 s"),
            (1.26, "1.3 s"),
            (16.088, "16.1 s"),
            (59.97, "1 min 0 s"),
            (125.0, "2 min 5 s"),
            (3599.7, "1 h 0 min"),
            (10_925.0, "3 h 2 min"),
            (-1.0, "0 ms"),
            (f64::NAN, "0 ms"),
        ] {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn what_was_cut_ends_in_dots() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abc...");
        assert_eq!(shortened("a\x1bbcd", 6), "a...");
    }
}
