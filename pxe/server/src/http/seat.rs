//! A connection that has a place, as those see it who want one.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::crowd::MAX_CONNECTIONS;

/// The connection had to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {MAX_CONNECTIONS} places for connections are taken, and another client came")]
pub(super) struct Evicted;

/// What a connection has done with its place.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) client: IpAddr,
    state: Mutex<State>,
    leave: Notify,
}

#[derive(Debug)]
struct State {
    /// When it got the place, or has taken a portion of a file since.
    last_use: Instant,
    /// It waits for our disk.
    waits_for_us: bool,
    is_leaving: bool,
}

impl Seat {
    pub(super) fn new(client: IpAddr, now: Instant) -> Self {
        let state = State { last_use: now, waits_for_us: false, is_leaving: false };
        Self { client, state: Mutex::new(state), leave: Notify::new() }
    }

    /// How long it has taken no portion of a file at `now`; `None` of one that leaves already.
    pub(super) fn lag(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        let lag = if state.waits_for_us { Duration::ZERO } else { now.saturating_duration_since(state.last_use) };
        (!state.is_leaving).then_some(lag)
    }

    /// Its client has taken a portion of a file.
    pub(super) fn used(&self, now: Instant) {
        self.state().last_use = now;
    }

    /// Waits for something of ours, for which the client cannot be blamed.
    pub(super) async fn while_we_work<T>(&self, work: impl Future<Output = T>) -> T {
        self.state().waits_for_us = true;
        let result = work.await;
        self.state().waits_for_us = false;
        result
    }

    /// Has the connection end.
    pub(super) fn evict(&self) {
        self.state().is_leaving = true;
        self.leave.notify_one();
    }

    /// Waits with the client, unless its place is needed.
    ///
    /// # Errors
    /// [`Evicted`], once; else those of `work`.
    pub(super) async fn unless_evicted<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            () = self.leave.notified() => Err(io::Error::other(Evicted)),
            result = work => result,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a connection ended because its place was needed.
pub(super) fn is_eviction(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Evicted>())
}
