//! Times of lines to instants: in a zone, through the hours that clocks show twice, and for lines
//! that leave out the year or all of it.

use jiff::{civil::DateTime, tz::TimeZone};

use crate::{decode::error_log::LogTime, model::time::Timestamp};

/// Children's lines come a little late into a file that is otherwise in order.
const DISORDER: i64 = 60_000_000;
const DAY: i64 = 86_400_000_000;

/// When a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// The instant.
    pub at: Timestamp,
    /// The line has fractions of a second, so that intervals from it mean something.
    pub is_fine: bool,
}

/// The calendar of one file.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    /// When the file was written last.
    written: Timestamp,
    last: Option<Timestamp>,
}

impl Calendar {
    /// The calendar of a file that was written at some time, by a host in some zone.
    #[must_use]
    pub const fn new(zone: TimeZone, written: Timestamp) -> Self {
        Self { zone, written, last: None }
    }

    /// The instant of the next line. One without a time is as old as the line before it, and,
    /// where there is none, as the file.
    pub fn instant(&mut self, time: Option<LogTime>) -> Instant {
        let found = match time {
            None => None,
            Some(LogTime::Absolute(at)) => Some(at.as_microsecond()),
            Some(LogTime::Local(at)) => self.local(at),
            Some(LogTime::Yearless(at)) => self.yearless(at),
        };
        let Some(micros) = found else {
            return Instant { at: self.last.unwrap_or(self.written), is_fine: false };
        };
        let at = Timestamp::from_micros(micros);
        self.last = Some(at);
        Instant { at, is_fine: micros % 1_000_000 != 0 }
    }

    /// Of the two instants of an hour that clocks show twice, the first one, unless the file was
    /// past it; a time that they skip is taken as if they had not been set forward yet.
    fn local(&self, at: DateTime) -> Option<i64> {
        let ambiguous = self.zone.to_ambiguous_timestamp(at);
        let earlier = ambiguous.compatible().ok()?.as_microsecond();
        match self.last {
            Some(last) if earlier < last.as_micros() - DISORDER && ambiguous.is_ambiguous() => {
                Some(ambiguous.later().ok()?.as_microsecond().max(earlier))
            }
            Some(_) | None => Some(earlier),
        }
    }

    /// The latest year in which the file may have been written.
    fn yearless(&self, at: DateTime) -> Option<i64> {
        let latest = self.written.as_micros().saturating_add(DAY);
        let written = jiff::Timestamp::from_microsecond(self.written.as_micros()).ok()?;
        let year = written.to_zoned(self.zone.clone()).year().saturating_add(1);
        (0..10).find_map(|back| {
            let at = at.with().year(year - back).build().ok()?;
            self.local(at).filter(|micros| *micros <= latest)
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    fn berlin(written: &str) -> Calendar {
        // The rules of Berlin, on whatever host this runs.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        Calendar::new(zone, stamp(written))
    }

    fn stamp(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_micros(at.as_microsecond())
    }

    fn local(text: &str) -> LogTime {
        LogTime::Local(text.parse().unwrap())
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_the_order_of_lines() {
        let mut calendar = berlin("2026-10-26T00:00:00Z");
        for (text, expected) in [
            ("2026-10-25T01:59:00", "2026-10-24T23:59:00Z"),
            ("2026-10-25T02:10:00", "2026-10-25T00:10:00Z"),
            ("2026-10-25T02:50:00", "2026-10-25T00:50:00Z"),
            ("2026-10-25T02:49:59", "2026-10-25T00:49:59Z"),
            ("2026-10-25T02:10:00", "2026-10-25T01:10:00Z"),
            ("2026-10-25T02:11:00", "2026-10-25T01:11:00Z"),
            ("2026-10-25T03:00:00", "2026-10-25T02:00:00Z"),
        ] {
            assert_eq!(calendar.instant(Some(local(text))).at, stamp(expected), "{text}");
        }
    }

    #[test]
    fn the_hour_that_is_skipped_is_some_time() {
        let mut calendar = berlin("2026-03-30T00:00:00Z");
        let at = calendar.instant(Some(local("2026-03-29T02:30:00"))).at;
        assert_eq!(at, stamp("2026-03-29T01:30:00Z"));
    }

    #[test]
    fn a_year_that_is_left_out_is_the_last_one_that_fits() {
        let mut calendar = berlin("2026-01-03T10:00:00Z");
        let yearless = |text: &str| Some(LogTime::Yearless(text.parse().unwrap()));
        let at = calendar.instant(yearless("2000-12-30T12:00:00")).at;
        assert_eq!(at, stamp("2025-12-30T11:00:00Z"));
        let at = calendar.instant(yearless("2000-01-03T09:00:00")).at;
        assert_eq!(at, stamp("2026-01-03T08:00:00Z"));
        let at = calendar.instant(yearless("2000-02-29T12:00:00")).at;
        assert_eq!(at, stamp("2024-02-29T11:00:00Z"));
    }

    #[test]
    fn a_line_without_a_time_is_as_old_as_the_one_before_it() {
        let mut calendar =
            Calendar::new(TimeZone::fixed(tz::offset(0)), stamp("2026-01-03T10:00:00Z"));
        assert_eq!(calendar.instant(None).at, stamp("2026-01-03T10:00:00Z"));
        calendar.instant(Some(local("2026-01-02T10:00:00.5")));
        let after = calendar.instant(None);
        assert_eq!(after, Instant { at: stamp("2026-01-02T10:00:00.5Z"), is_fine: false });
    }
}
