//! So many at once, and so many a second after that.

use std::time::Duration;

/// Lets some pass at once and then a number a second, whoever asks how often.
#[derive(Debug, Clone)]
pub struct Allowance {
    at_once: u32,
    each: Duration,
    /// When all of it is there again.
    full_at: Duration,
}

impl Allowance {
    /// An allowance that is there in full. `per_second` is at least 1.
    #[must_use]
    pub fn new(at_once: u32, per_second: u32) -> Self {
        Self { at_once, each: Duration::from_secs(1) / per_second.max(1), full_at: Duration::ZERO }
    }

    /// Whether one more may pass at `now`, which is monotonic.
    pub fn pass(&mut self, now: Duration) -> bool {
        let full_at = self.full_at.max(now) + self.each;
        let may = full_at - now <= self.each * self.at_once;
        if may {
            self.full_at = full_at;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_pass_at_once_and_then_a_number_a_second() {
        let mut allowance = Allowance::new(10, 2);
        let passed = |allowance: &mut Allowance, seconds| {
            (0..100).filter(|_| allowance.pass(Duration::from_secs(seconds))).count()
        };
        let counts = [5, 5, 6, 8, 1000, 1000].map(|seconds| passed(&mut allowance, seconds));
        assert_eq!(counts, [10, 0, 2, 4, 10, 0]);
    }
}
