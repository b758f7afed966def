//! The two clocks a node needs.

use std::time::Duration;

use meadow_model::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Where time comes from; a test hands in one of its own.
pub trait Clock: Send + Sync {
    /// Wall-clock time. It jumps when the clock is set: for people and records, never to measure with.
    fn wall(&self) -> Timestamp;

    /// Time since the machine started, suspended time included (`CLOCK_BOOTTIME`). It never goes back: leases and
    /// timeouts are counted on it.
    fn boottime(&self) -> Duration;
}

/// The kernel's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let now = clock_gettime(ClockId::Realtime);
        Timestamp::from_millis(now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000))
    }

    fn boottime(&self) -> Duration {
        to_duration(clock_gettime(ClockId::Boottime))
    }
}

/// A clock that counts from the machine's start is never negative; should a kernel say so, it is read as zero.
fn to_duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::{Clock, SystemClock};

    #[test]
    fn boottime_never_goes_back() {
        let mut last = SystemClock.boottime();
        for _ in 0..1000 {
            let now = SystemClock.boottime();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn wall_time_lies_in_this_century() {
        let year_2020 = 1_577_836_800_000;
        let year_2100 = 4_102_444_800_000;
        assert!((year_2020..year_2100).contains(&SystemClock.wall().as_millis()));
    }
}
