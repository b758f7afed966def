//! PID 1 inherits every orphan: one thread waits for all of them.

use std::collections::HashMap;
use std::process::{Child, Command};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

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
    alive: bool,
    /// Nothing is started any more.
    closed: bool,
}

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
                Err(Errno::CHILD) => {
                    let mut inner = lock(&self.inner);
                    // One may have been born since; `spawn` sets the flag under the same lock.
                    if std::mem::take(&mut inner.alive) {
                        continue;
                    }
                    self.changed.notify_all();
                    let woken = self.changed.wait_while(inner, |inner| !inner.alive);
                    drop(woken.unwrap_or_else(std::sync::PoisonError::into_inner));
                }
                _ => {}
            }
        }
    }

    /// Starts a program whose end [`Children::wait`] will tell.
    ///
    /// # Errors
    /// If it cannot be started, or [`Children::end_all`] was called.
    pub fn spawn(&self, command: &mut Command) -> anyhow::Result<(Pid, Child)> {
        // Under the lock, so that the reaper cannot meet its end before we know its number.
        let mut inner = lock(&self.inner);
        anyhow::ensure!(!inner.closed, "PID 1 is about to become another program");
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let pid = Pid::from_child(&child);
        inner.watched.insert(pid, None);
        inner.alive = true;
        self.changed.notify_all();
        Ok((pid, child))
    }

    /// Waits for the end of a program that [`Children::spawn`] started.
    pub fn wait(&self, pid: Pid) -> Option<WaitStatus> {
        let inner = lock(&self.inner);
        let running = |inner: &mut Inner| matches!(inner.watched.get(&pid), Some(None));
        let woken = self.changed.wait_while(inner, running);
        let mut inner = woken.unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.watched.remove(&pid).flatten()
    }

    /// Ends all other programs: politely, then by force. None starts after that.
    pub fn end_all(&self, grace: Duration) {
        lock(&self.inner).closed = true;
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            // SAFETY: kill(2) takes no pointers. From PID 1, -1 means every other process; kernel
            // threads ignore signals.
            if unsafe { libc::kill(-1, signal) } != 0 {
                return; // ESRCH: there is none
            }
            let deadline = Instant::now() + grace;
            while Instant::now() < deadline {
                // SAFETY: as above; signal 0 only asks whether there is one.
                if unsafe { libc::kill(-1, 0) } != 0 {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
