//! The only reader of time.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::model::time::{Moment, Timestamp, Uptime};

/// This moment, from both clocks.
#[must_use]
pub fn now() -> Moment {
    Moment {
        uptime: uptime(),
        wall: Timestamp::from_micros(micros(clock_gettime(ClockId::Realtime))),
    }
}

/// How long this thread has worked, whatever else the machine did meanwhile.
#[must_use]
pub fn work_of_this_thread() -> Duration {
    let micros = micros(clock_gettime(ClockId::ThreadCPUTime));
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Time since boot, suspension included.
fn uptime() -> Uptime {
    let micros = micros(clock_gettime(ClockId::Boottime));
    Uptime::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn micros(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let first = now();
        assert!(now() >= first);
        assert!(first.wall > Timestamp::from_micros(1_700_000_000_000_000));
    }
}
