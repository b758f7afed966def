//! What the boot server has done since its start, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Numbers since the start of the server. They only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Datagrams on the TFTP port that may have begun a transfer.
    pub tftp_requests: u64,
    /// Of them answered with an error: no such file, not yet checked, a write.
    pub tftp_refused: u64,
    /// Of them dropped, because too many transfers ran.
    pub tftp_dropped: u64,
    /// Transfers forgotten before the client answered, because a newer request needed the room: more than a few mean
    /// forged requests.
    pub tftp_evicted: u64,
    /// Transfers whose client has answered.
    pub tftp_transfers: u64,
    /// Of them complete.
    pub tftp_complete: u64,
    /// Transfers that failed, with and without an answer.
    pub tftp_failed: u64,
    /// Windows sent again: packets were lost.
    pub tftp_resent_windows: u64,
    /// HTTP connections taken.
    pub http_connections: u64,
    /// HTTP connections closed at once, because there were too many in all or of one client.
    pub http_refused: u64,
    /// HTTP requests answered.
    pub http_requests: u64,
    /// HTTP connections closed because the client was too slow.
    pub http_slow: u64,
    /// Events that were not recorded, because nobody had proved to be where they seemed to come from, and there was
    /// one in the same second.
    pub events_withheld: u64,
}

/// One number.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The numbers while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub(crate) tftp_requests: Counter,
    pub(crate) tftp_refused: Counter,
    pub(crate) tftp_dropped: Counter,
    pub(crate) tftp_evicted: Counter,
    pub(crate) tftp_transfers: Counter,
    pub(crate) tftp_complete: Counter,
    pub(crate) tftp_failed: Counter,
    pub(crate) tftp_resent_windows: Counter,
    pub(crate) http_connections: Counter,
    pub(crate) http_refused: Counter,
    pub(crate) http_requests: Counter,
    pub(crate) http_slow: Counter,
    pub(crate) events_withheld: Counter,
}

impl Counting {
    /// The numbers now.
    pub(crate) fn read(&self) -> Counters {
        Counters {
            tftp_requests: self.tftp_requests.get(),
            tftp_refused: self.tftp_refused.get(),
            tftp_dropped: self.tftp_dropped.get(),
            tftp_evicted: self.tftp_evicted.get(),
            tftp_transfers: self.tftp_transfers.get(),
            tftp_complete: self.tftp_complete.get(),
            tftp_failed: self.tftp_failed.get(),
            tftp_resent_windows: self.tftp_resent_windows.get(),
            http_connections: self.http_connections.get(),
            http_refused: self.http_refused.get(),
            http_requests: self.http_requests.get(),
            http_slow: self.http_slow.get(),
            events_withheld: self.events_withheld.get(),
        }
    }
}
