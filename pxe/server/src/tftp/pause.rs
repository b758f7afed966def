//! Pauses between bursts, to the microsecond: tokio's timer counts milliseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits shorter than this are a pause.
const SHORT: Duration = Duration::from_millis(3);

/// A timer that a transfer makes when it first needs one.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<AsyncFd<OwnedFd>>);

impl Pause {
    /// Waits for `time`.
    pub(super) async fn wait(&mut self, time: Duration) {
        if time.is_zero() {
            return;
        }
        if time >= SHORT || self.wait_precisely(time).await.is_err() {
            tokio::time::sleep(time).await;
        }
    }

    async fn wait_precisely(&mut self, time: Duration) -> io::Result<()> {
        let timer = match &mut self.0 {
            Some(timer) => timer,
            none => {
                let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
                let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
                // SAFETY: an OwnedFd keeps its descriptor open, and the same, until it is dropped with the AsyncFd.
                let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
                none.insert(timer)
            }
        };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value =
            Itimerspec { it_interval: zero, it_value: Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) } };
        timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &value)?;
        timer.async_io(Interest::READABLE, |timer| Ok(rustix::io::read(timer, &mut [0_u8; 8])?)).await.map(drop)
    }
}
