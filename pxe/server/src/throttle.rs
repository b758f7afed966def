//! One message in a while, and how many were left out.

use std::time::Duration;

/// Lets one message pass in an interval.
#[derive(Debug)]
pub(crate) struct Throttle {
    interval: Duration,
    last: Option<Duration>,
    withheld: u64,
}

impl Throttle {
    pub(crate) fn every(interval: Duration) -> Self {
        Self { interval, last: None, withheld: 0 }
    }

    /// Whether a message may pass at `now`: how many were withheld since the last that did, or `None` to withhold it.
    pub(crate) fn pass(&mut self, now: Duration) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_sub(last) < self.interval) {
            self.withheld += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_an_interval_and_the_rest_is_counted() {
        let mut throttle = Throttle::every(Duration::from_secs(1));
        let at = Duration::from_millis;
        let passed = [0, 1, 999, 1000, 1500, 5000].map(|millis| throttle.pass(at(millis)));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
