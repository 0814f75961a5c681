//! Two readings of one instant: what a person sees and what intervals are computed from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, as APR's `apr_time_t`: for what is shown and what httpd wrote.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(i64);

/// Microseconds since the host booted, suspension included (`CLOCK_BOOTTIME`), as process start times.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Uptime(u64);

/// One instant read from both clocks at once.
///
/// Intervals come from `uptime`, which nobody can set back; `wall` is for showing.
/// Moments are ordered by `uptime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Moment {
    /// The time since boot.
    pub uptime: Uptime,
    /// The host's calendar time.
    pub wall: Timestamp,
}

impl Timestamp {
    /// A timestamp of this many microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, as Prometheus wants them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds last until the year 2255")]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Uptime {
    /// An uptime of this many microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since boot.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl Moment {
    /// The time from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.uptime.0.saturating_sub(earlier.uptime.0))
    }

    /// This moment moved into the future.
    #[must_use]
    pub fn after(self, interval: Duration) -> Self {
        let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        Self {
            uptime: Uptime(self.uptime.0.saturating_add(micros)),
            wall: Timestamp(self.wall.0.saturating_add_unsigned(micros)),
        }
    }

    /// The moment of another uptime, its calendar time computed from this one's.
    #[must_use]
    pub fn at_uptime(self, uptime: Uptime) -> Self {
        let distance = i128::from(uptime.0) - i128::from(self.uptime.0);
        let wall = i128::from(self.wall.0).saturating_add(distance);
        Self { uptime, wall: Timestamp(i64::try_from(wall).unwrap_or(i64::MAX)) }
    }

    /// The moment of another calendar time, its uptime computed from this one's.
    ///
    /// Right as long as nobody set the clock in between; never before boot.
    #[must_use]
    pub fn at_wall(self, wall: Timestamp) -> Self {
        let distance = i128::from(wall.0) - i128::from(self.wall.0);
        let uptime = i128::from(self.uptime.0).saturating_add(distance).max(0);
        Self { uptime: Uptime(u64::try_from(uptime).unwrap_or(u64::MAX)), wall }
    }
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uptime.cmp(&other.uptime).then(self.wall.cmp(&other.wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Moment = Moment {
        uptime: Uptime::from_micros(5_000_000),
        wall: Timestamp::from_micros(1_000_000_000),
    };

    #[test]
    fn a_clock_that_is_set_back_does_not_make_an_interval_negative() {
        let later = Moment { uptime: Uptime(6_000_000), wall: Timestamp(3) };
        assert_eq!(later.since(NOON), Duration::from_secs(1));
        assert_eq!(NOON.since(later), Duration::ZERO);
    }

    #[test]
    fn a_moment_is_found_from_either_clock() {
        let earlier = NOON.at_uptime(Uptime(4_000_000));
        assert_eq!(earlier.wall, Timestamp(999_000_000));
        assert_eq!(NOON.at_wall(Timestamp(999_000_000)), earlier);
        assert_eq!(NOON.at_wall(Timestamp(0)).uptime, Uptime(0));
    }
}
