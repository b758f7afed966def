//! PID 1 inherits every orphan: one thread waits for all of them.

use std::collections::HashMap;
use std::process::{Child, Command};
use std::sync::{Condvar, LockResult, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::lock;

/// The children of PID 1.
#[derive(Debug, Default)]
pub struct Children {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// Somebody waits for these; `None` while they run.
    watched: HashMap<Pid, Option<WaitStatus>>,
    /// A child was started, and the reaper has not yet found that all are gone.
    busy: bool,
    /// Nothing is started any more.
    closed: bool,
}

/// PID 1 is about to become another program and starts nothing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("PID 1 is about to become another program")]
pub struct Closed;

impl Children {
    /// Waits for children for ever; to be run by one thread.
    pub fn reap(&self) {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let mut inner = lock(&self.inner);
                    if let Some(entry) = inner.watched.get_mut(&pid) {
                        *entry = Some(status);
                    }
                    self.changed.notify_all();
                }
                Err(Errno::CHILD) => self.wait_for_a_child(),
                _ => {}
            }
        }
    }

    fn wait_for_a_child(&self) {
        let mut inner = lock(&self.inner);
        // One that runs may have been started since wait(2) found none.
        inner.busy = inner.watched.values().any(Option::is_none);
        self.changed.notify_all();
        drop(unpoison(self.changed.wait_while(inner, |inner| !inner.busy)));
    }

    /// Starts a program whose end [`Children::wait`] will tell.
    ///
    /// # Errors
    /// If it cannot be started; [`Closed`] after [`Children::end_all`].
    pub fn spawn(&self, command: &mut Command) -> anyhow::Result<(Pid, Child)> {
        // Under the lock, so that the reaper cannot meet its end before we know its number.
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(Closed.into());
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let pid = Pid::from_child(&child);
        inner.watched.insert(pid, None);
        inner.busy = true;
        self.changed.notify_all();
        Ok((pid, child))
    }

    /// Waits for the end of a program that [`Children::spawn`] started.
    pub fn wait(&self, pid: Pid) -> Option<WaitStatus> {
        let inner = lock(&self.inner);
        let running = |inner: &mut Inner| matches!(inner.watched.get(&pid), Some(None));
        let mut inner = unpoison(self.changed.wait_while(inner, running));
        inner.watched.remove(&pid).flatten()
    }

    /// Whether [`Children::end_all`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    /// Ends all other programs: politely, then by force. None starts after that.
    pub fn end_all(&self, grace: Duration) {
        lock(&self.inner).closed = true;
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            if !lock(&self.inner).busy {
                return;
            }
            // SAFETY: kill(2) takes no pointers. From PID 1, -1 means every other process; kernel
            // threads ignore signals.
            unsafe { libc::kill(-1, signal) };
            let inner = lock(&self.inner);
            drop(self.changed.wait_timeout_while(inner, grace, |inner| inner.busy));
        }
    }
}

fn unpoison(result: LockResult<MutexGuard<'_, Inner>>) -> MutexGuard<'_, Inner> {
    result.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_end_reaches_who_waits_for_it() {
        let children = Arc::new(Children::default());
        let reaper = Arc::clone(&children);
        std::thread::spawn(move || reaper.reap());
        // Twice, since between them the reaper finds no child at all and has to be woken.
        for _ in 0..2 {
            let codes: Vec<_> = [3, 0, 7]
                .map(|code| children.spawn(Command::new("sh").args(["-c", &format!("exit {code}")])).unwrap().0)
                .map(|pid| children.wait(pid).and_then(WaitStatus::exit_status))
                .into();
            assert_eq!(codes, [Some(3), Some(0), Some(7)]);
        }
        assert!(children.spawn(&mut Command::new("/does/not/exist")).is_err());
        lock(&children.inner).closed = true;
        let refused = children.spawn(&mut Command::new("sh")).unwrap_err();
        assert!(refused.is::<Closed>());
    }
}
