//! Growing pauses after wrong passphrases, for all sessions and consoles together.
//!
//! The key derivation alone costs a guesser seconds; this is for the person who types, and for a machine that somebody
//! left a script at. It never ends in a restart: after [`MANY`] wrong ones there is one attempt every [`LONG_PAUSE`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// After that many only the long pause is offered.
pub const MANY: u32 = 10;
/// Between attempts then.
pub const LONG_PAUSE: Duration = Duration::from_secs(15 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The wrong attempts of this boot. Times are since the kernel started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// How many in a row.
    pub wrong: u32,
    /// When the last one ended.
    pub last_ms: u64,
}

impl Attempts {
    /// How long until the next one is allowed.
    #[must_use]
    pub fn pause(self, now: Duration) -> Duration {
        let pause = match self.wrong {
            0 => return Duration::ZERO,
            many if many >= MANY => LONG_PAUSE,
            few => (FIRST_PAUSE * 2_u32.saturating_pow(few - 1)).min(LONGEST_PAUSE),
        };
        let next = Duration::from_millis(self.last_ms).saturating_add(pause);
        // A clock that is behind the file, which cannot be, must not lock anybody out for longer.
        next.saturating_sub(now).min(pause)
    }

    /// After one more wrong one.
    #[must_use]
    pub fn failed(self, now: Duration) -> Self {
        Self { wrong: self.wrong.saturating_add(1), last_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_and_then_are_long() {
        let now = Duration::from_secs(100);
        let mut attempts = Attempts::default();
        let mut pauses = vec![attempts.pause(now).as_secs()];
        for _ in 0..11 {
            attempts = attempts.failed(now);
            pauses.push(attempts.pause(now).as_secs());
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 900, 900]);
        assert_eq!(attempts.pause(now + LONG_PAUSE), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn any_file_locks_nobody_out_for_ever(wrong: u32, last_ms: u64, now: u32) {
            let attempts = Attempts { wrong, last_ms };
            let now = Duration::from_millis(now.into());
            prop_assert!(attempts.pause(now) <= LONG_PAUSE);
            prop_assert!(attempts.failed(now).pause(now) >= Duration::from_millis(999));
            prop_assert_eq!(attempts.failed(now).pause(now + LONG_PAUSE), Duration::ZERO);
        }
    }
}
