//! The processor: units of fixed work a second.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Duration;

use meadow_host::Clock;

/// Numbers that a unit tests for being prime, as sysbench does.
const PRIMES_BELOW: u64 = 2000;
/// Rounds of the integer hash and of the floating-point recurrence in a unit.
const ROUNDS: u32 = 4096;

/// The sum over `threads` threads of the units each does in a second, measured for `sample` on all at once.
pub(super) fn units_per_second(threads: usize, sample: Duration, clock: &dyn Clock) -> f64 {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let run = |seed| {
            let start = &start;
            move || {
                start.wait();
                rate(seed, sample, clock)
            }
        };
        let others: Vec<_> = (1..threads as u64).map(|seed| scope.spawn(run(seed))).collect();
        let own = run(0)();
        // A thread of ours ends by panic only where the clock does; its rate is then nothing.
        own + others.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum::<f64>()
    })
}

/// Units a second of the calling thread.
fn rate(seed: u64, sample: Duration, clock: &dyn Clock) -> f64 {
    let start = clock.boottime();
    let mut units = 0_u64;
    loop {
        black_box(unit(black_box(seed.wrapping_add(units))));
        units += 1;
        let elapsed = clock.boottime().saturating_sub(start);
        if elapsed >= sample {
            return units as f64 / elapsed.as_secs_f64();
        }
    }
}

/// One unit of work: divisions, multiplications and shifts, and floating point, in like parts. Its result depends on
/// all of them, so that no part can be left out.
///
/// The definition never changes: rates of different versions of Meadow are compared.
fn unit(seed: u64) -> u64 {
    let primes = (2..PRIMES_BELOW).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count() as u64;
    let mut hash = seed ^ primes;
    // SplitMix64's finaliser, over and over: each round needs the one before.
    for _ in 0..ROUNDS {
        hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    // Newton's iteration for a square root: a division and an addition that wait for each other.
    let target = 1.0 + (hash % 1000) as f64;
    let mut root = target;
    for _ in 0..ROUNDS / 8 {
        root = 0.5 * (root + target / root) + 1e-9;
    }
    hash ^ root.to_bits()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use meadow_model::Timestamp;

    use super::*;

    #[test]
    fn the_unit_of_work_is_always_the_same() {
        assert_eq!(unit(0), unit(0));
        assert_ne!(unit(0), unit(1));
    }

    /// Every look at the clock is a millisecond later.
    #[derive(Default)]
    struct Ticks(AtomicU64);

    impl Clock for Ticks {
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn boottime(&self) -> Duration {
            Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
        }
    }

    #[test]
    fn the_rate_is_units_by_time() {
        let rate = rate(0, Duration::from_millis(10), &Ticks::default());
        assert!((rate - 1000.0).abs() < 1e-6, "{rate}");
    }
}
