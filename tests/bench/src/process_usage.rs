//! What a process uses, out of /proc (proc(5)).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use meadow_rack::namespace::Namespace;

/// Clock ticks a second in /proc/PID/stat (USER_HZ, a constant of Linux's interface).
const TICKS: f64 = 100.0;

/// A running process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

/// Resident memory in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// All of it (VmRSS): with the program's own pages of the page cache.
    pub(crate) resident: f64,
    /// Its own data (RssAnon).
    pub(crate) anonymous: f64,
    /// The greatest VmRSS so far (VmHWM).
    pub(crate) peak: f64,
}

/// How busy it was in a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activity {
    /// Share of one processor, in percent.
    pub(crate) processor_percent: f64,
    /// Times that one of its threads was put to sleep and woken again, a second.
    pub(crate) wakeups: f64,
    /// Bytes that it sent to disks, a second.
    pub(crate) written: f64,
}

impl Process {
    /// The process `name` in `namespace`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(namespace: &Namespace, name: &str) -> Result<Self> {
        let output =
            Command::new("ip").args(["netns", "pids", namespace.name()]).output().context("cannot run ip(8)")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for pid in text.split_whitespace().filter_map(|word| word.parse().ok()) {
            if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name) {
                return Ok(Self(pid));
            }
        }
        bail!("no {name} runs in {}", namespace.name())
    }

    /// Its memory now.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) fn memory(self) -> Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0)).context("the process has ended")?;
        parse_status(&text).context("/proc/PID/status has no memory")
    }

    /// Lets the peak begin anew.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn reset_peak(self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").context("cannot reset VmHWM")
    }

    /// Lets it go on for `time` and gives what it did meanwhile.
    ///
    /// # Errors
    /// When it ends.
    pub(crate) fn watch(self, time: Duration) -> Result<Activity> {
        let (begun, before) = (Instant::now(), self.counters()?);
        std::thread::sleep(time);
        let (seconds, after) = (begun.elapsed().as_secs_f64(), self.counters()?);
        let rate = |index: usize| (after[index] - before[index]) / seconds;
        Ok(Activity { processor_percent: 100.0 * rate(0) / TICKS, wakeups: rate(1), written: rate(2) })
    }

    /// Syncs to disk a second within `time`, as strace(1) counts them.
    ///
    /// # Errors
    /// When strace is missing.
    pub(crate) fn syncs(self, time: Duration, log: &Path) -> Result<f64> {
        let seconds = time.as_secs();
        let mut strace = Command::new("timeout");
        strace.args(["--signal=INT", &seconds.to_string(), "strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync"]);
        strace.arg("-o").arg(log).args(["-p", &self.0.to_string()]);
        let status = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        // timeout(1) ends with 124 when the time is over; strace missing is 127.
        let code = status.context("cannot run timeout(1)")?.code();
        anyhow::ensure!(code == Some(124), "strace ended with {code:?}; see tests/bench/packages.list");
        let text = fs::read_to_string(log).context("strace wrote nothing")?;
        Ok(count(text.lines().filter(|line| line.contains("sync(") && !line.contains("resumed>")).count())
            / time.as_secs_f64())
    }

    /// Clock ticks, voluntary switches and bytes written, since its start.
    fn counters(self) -> Result<[f64; 3]> {
        let folder = Path::new("/proc").join(self.0.to_string());
        let ended = || format!("the process {} has ended", self.0);
        let stat = fs::read_to_string(folder.join("stat")).with_context(ended)?;
        let mut switches = 0.0;
        for task in fs::read_dir(folder.join("task")).with_context(ended)? {
            // A thread may end between the two calls.
            let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            switches += number(&status, "voluntary_ctxt_switches").unwrap_or(0.0);
        }
        let io = fs::read_to_string(folder.join("io")).with_context(ended)?;
        Ok([
            parse_ticks(&stat).context("/proc/PID/stat is unreadable")?,
            switches,
            number(&io, "write_bytes").context("/proc/PID/io has no write_bytes")?,
        ])
    }
}

fn parse_status(text: &str) -> Option<Memory> {
    let mib = |name: &str| Some(number(text, name)? / 1024.0);
    Some(Memory { resident: mib("VmRSS")?, anonymous: mib("RssAnon")?, peak: mib("VmHWM")? })
}

/// User and system time, fields 14 and 15; the name in brackets may hold anything.
fn parse_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

/// The number in the line `name: number …`.
fn number(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

fn count(items: usize) -> f64 {
    u32::try_from(items).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files() {
        let status = "Name:\tx\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n";
        assert_eq!(parse_status(status), Some(Memory { resident: 2.0, anonymous: 1.0, peak: 4.0 }));
        assert_eq!(parse_status("VmRSS: many"), None);
        let stat = "7 (a) b)) S 1 7 7 0 -1 4194560 1 2 3 4 50 7 7 8 20 0 1 0 4711 9 9 9";
        assert_eq!(parse_ticks(stat), Some(57.0));
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Process(std::process::id()).memory().expect("it runs");
        assert!(memory.resident > 0.0 && memory.peak >= memory.resident, "{memory:?}");
    }
}
