//! Maintenance windows: `Mon-Fri 02:00-05:00 Europe/Berlin`.

use jiff::tz;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Whether a text is a window: days (else every day), from-to (over midnight too), a time zone (else
/// the host's).
pub(super) fn is_window(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        [hours] => are_hours(hours),
        [first, second] => {
            are_days(first) && are_hours(second) || are_hours(first) && is_zone(second)
        }
        [days, hours, zone] => are_days(days) && are_hours(hours) && is_zone(zone),
        _ => false,
    }
}

/// `Mon-Fri`, `Sat`, `Mon,Wed-Fri`; a range may run over the end of the week.
fn are_days(text: &str) -> bool {
    text.split(',').all(|range| range.split('-').count() <= 2 && range.split('-').all(is_day))
}

fn is_day(text: &str) -> bool {
    DAYS.contains(&text)
}

/// `02:00-05:00`; equal ends would mean never, or always.
fn are_hours(text: &str) -> bool {
    match text.split_once('-') {
        Some((from, to)) => from != to && is_time(from) && is_time(to),
        None => false,
    }
}

fn is_time(text: &str) -> bool {
    let is_number = |text: &str, most: u8| {
        text.len() == 2
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number <= most)
    };
    text == "24:00"
        || text
            .split_once(':')
            .is_some_and(|(hour, minute)| is_number(hour, 23) && is_number(minute, 59))
}

/// A name of the host's time zone database; where there is none, any name that could be one.
fn is_zone(text: &str) -> bool {
    let database = tz::db();
    if database.is_definitively_empty() {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
        return !text.is_empty() && text.bytes().all(is_letter);
    }
    text == "UTC" || database.get(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read() {
        for text in [
            "Mon-Fri 02:00-05:00 UTC",
            "Sat 22:00-02:00",
            "Fri-Mon,Wed 00:00-24:00",
            "02:00-05:00",
            "02:00-05:00 UTC",
        ] {
            assert!(is_window(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "Mon",
            "Mon-Fri",
            "Mon-Tue-Wed 02:00-05:00",
            "mon 02:00-05:00",
            "Mon 2:00-5:00",
            "Mon 02:00-02:00",
            "Mon 02:00-25:00",
            "Mon 02:60-03:00",
            "Mon  02:00-05:00",
            "Mon 02:00-05:00 UTC x",
            "02:00-05:00 ../etc/passwd",
            "02:00 05:00",
            "Mon, 02:00-05:00",
        ] {
            assert!(!is_window(text), "{text}");
        }
    }
}
