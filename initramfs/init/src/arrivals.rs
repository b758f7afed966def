//! Tells those who wait for a disk that one may have come.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::lock;
use crate::system::uptime;

/// Counts the block devices that were announced.
#[derive(Debug, Default)]
pub struct Arrivals {
    seen: Mutex<u64>,
    changed: Condvar,
}

impl Arrivals {
    /// A block device came, or perhaps one did.
    pub fn note(&self) {
        *lock(&self.seen) += 1;
        self.changed.notify_all();
    }

    /// How many came until now; to be asked for before looking at the disks, and given to [`Arrivals::wait`] after.
    #[must_use]
    pub fn count(&self) -> u64 {
        *lock(&self.seen)
    }

    /// Waits until more than `known` came, at most until `end` (an [`uptime`]). Whether there is news.
    pub fn wait(&self, known: u64, end: Duration) -> bool {
        let mut seen = lock(&self.seen);
        while *seen == known {
            let left = end.saturating_sub(uptime());
            if left.is_zero() {
                return false;
            }
            (seen, _) = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn news_end_a_wait_and_its_end_too() {
        let arrivals = Arc::new(Arrivals::default());
        let known = arrivals.count();
        assert!(!arrivals.wait(known, uptime()));
        let other = Arc::clone(&arrivals);
        let note = std::thread::spawn(move || other.note());
        assert!(arrivals.wait(known, uptime() + Duration::from_secs(60)));
        note.join().unwrap();
    }
}
