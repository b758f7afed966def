//! Processes that the rack started, and how they are ended.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// How long a process may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// A process, told apart from a later one that got the same number by the time it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// Clock ticks between the boot of the host and its start (field 22 of `proc_pid_stat(5)`).
    pub start_time: u64,
}

impl ProcessId {
    /// Looks up the start time of a running process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, start_time) =
            parse_stat(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is unreadable: {stat}")))?;
        Ok(Self { pid, start_time })
    }

    /// Whether it still runs; a zombie does not.
    #[must_use]
    pub fn is_running(self) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| parse_stat(&stat))
            .is_some_and(|(state, start_time)| start_time == self.start_time && !matches!(state, 'Z' | 'X'))
    }

    /// Sends a signal, if it is still the same process.
    ///
    /// The descriptor is opened before the start time is compared, so the signal cannot reach another process.
    pub fn signal(self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.is_running() {
            // It may end between the two calls, which is what was wanted.
            let _ = pidfd_send_signal(descriptor, signal);
        }
    }
}

/// Ends processes: asks all at once with SIGTERM, and kills those that do not end within a few seconds.
pub fn end(processes: &[ProcessId]) {
    for process in processes {
        process.signal(Signal::TERM);
    }
    if !all_ended(processes, GRACE) {
        for process in processes {
            process.signal(Signal::KILL);
        }
        all_ended(processes, GRACE);
    }
}

/// A running program, ended when the value is dropped.
#[derive(Debug)]
pub struct Program(Child);

impl Program {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    /// Which process it is; `None` once it has ended.
    #[must_use]
    pub fn id(&self) -> Option<ProcessId> {
        ProcessId::of(self.0.id()).ok()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Kills it with SIGKILL, as a power cut or the kernel's out-of-memory killer would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let (Ok(None), Some(id)) = (self.0.try_wait(), self.id()) {
            end(&[id]);
        }
        // It has ended: this only collects its exit status.
        let _ = self.0.wait();
    }
}

fn all_ended(processes: &[ProcessId], limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while processes.iter().any(|process| process.is_running()) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// State and start time out of `/proc/<pid>/stat`; the name in brackets may hold anything, brackets too.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let stat = "7 (a) b)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9 9";
        assert_eq!(parse_stat(stat), Some(('S', 4711)));
        assert_eq!(parse_stat("7 (x"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn ends_a_process_that_ignores_sigterm_but_not_one_with_another_start_time() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo; read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("sh starts");
        let process = ProcessId::of(child.id()).expect("it runs");
        let impostor = ProcessId { start_time: process.start_time + 1, ..process };
        assert!(!impostor.is_running());
        impostor.signal(Signal::KILL);
        assert!(process.is_running());
        end(&[process]);
        assert!(!process.is_running());
        child.wait().expect("it ended");
    }
}
