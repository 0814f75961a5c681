//! The toolkit's `rate_limit`: a token bucket over all clients.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::expose::web_config::RateLimit;
use crate::model::time::Moment;

/// The bucket, kept as the moment when it will be full again (the generic cell rate algorithm):
/// one number, so that it needs no lock and survives a new configuration.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes one token, or says when there will be one.
    pub(super) fn take(&self, limit: RateLimit, now: Moment) -> Result<(), Duration> {
        let interval = u64::try_from(limit.interval.as_micros()).unwrap_or(u64::MAX);
        let room = interval.saturating_mul(u64::from(limit.burst));
        let now = now.uptime.as_micros();
        let after_one = |full_at: u64| full_at.max(now).saturating_add(interval);
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(after_one(full_at)).filter(|after| after.saturating_sub(now) <= room)
        });
        taken.map(drop).map_err(|full_at| {
            Duration::from_micros(after_one(full_at).saturating_sub(now).saturating_sub(room))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{Timestamp, Uptime};

    #[test]
    fn a_burst_passes_and_then_one_an_interval() {
        let at = |millis: u64| Moment {
            uptime: Uptime::from_micros(millis * 1000),
            wall: Timestamp::from_micros(0),
        };
        let limit = RateLimit { interval: Duration::from_secs(1), burst: 2 };
        let bucket = Bucket::default();
        assert_eq!(bucket.take(limit, at(10_000)), Ok(()));
        assert_eq!(bucket.take(limit, at(10_000)), Ok(()));
        assert_eq!(bucket.take(limit, at(10_000)), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(limit, at(10_400)), Err(Duration::from_millis(600)));
        assert_eq!(bucket.take(limit, at(11_000)), Ok(()));
        assert_eq!(bucket.take(limit, at(60_000)), Ok(()));
        assert_eq!(bucket.take(limit, at(60_000)), Ok(()));
        assert!(bucket.take(limit, at(60_000)).is_err());
    }
}
