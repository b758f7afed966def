//! Every place where a person may be looking: the screen and the serial ports.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, speed, tcgetattr, tcsetattr};

/// Lines kept for a console that is slower than the boot.
const QUEUE: usize = 256;
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

enum Job {
    Line(String),
    Progress(String),
    Flush(SyncSender<()>),
}

/// Writers to all consoles. A console that hangs holds up nothing but itself.
#[derive(Debug)]
pub struct Consoles {
    /// `tty1` and the real UARTs, for the system's own console later.
    terminals: Vec<String>,
    queues: Vec<SyncSender<Job>>,
}

impl Consoles {
    /// Opens tty1, every UART that exists, and whatever the kernel itself uses.
    #[must_use]
    pub fn open() -> Self {
        let mut terminals: BTreeSet<String> = uarts().into_iter().collect();
        if fs::exists("/dev/tty1").unwrap_or(false) {
            terminals.insert("tty1".to_owned());
        }
        let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        // tty0 is whichever screen is in front, so tty1.
        let kernel = active.split_whitespace().filter(|name| *name != "tty0").map(str::to_owned);
        let all: BTreeSet<String> = terminals.iter().cloned().chain(kernel).collect();
        let queues = all.iter().filter_map(|name| start(name)).collect();
        Self { terminals: terminals.into_iter().collect(), queues }
    }

    /// Terminals on which the booted system should show its console.
    #[must_use]
    pub fn terminals(&self) -> &[String] {
        &self.terminals
    }

    /// Writes one line everywhere.
    pub fn line(&self, text: &str) {
        self.send(|| Job::Line(text.to_owned()));
    }

    /// Shows progress in place: the next one overwrites it.
    pub fn progress(&self, text: &str) {
        self.send(|| Job::Progress(text.to_owned()));
    }

    /// Waits, not for ever, until everything is written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(self.queues.len());
        let asked = self.queues.iter().filter(|queue| queue.try_send(Job::Flush(done.clone())).is_ok()).count();
        for _ in 0..asked {
            if wait.recv_timeout(FLUSH_TIMEOUT).is_err() {
                return;
            }
        }
    }

    fn send(&self, job: impl Fn() -> Job) {
        for queue in &self.queues {
            // A full queue means that nobody can read it: the line is lost there only.
            let _ = queue.try_send(job());
        }
    }
}

/// Serial ports with hardware behind them: the kernel makes nodes for four in any case.
fn uarts() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/tty") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("ttyS"))
        .filter(|name| fs::read_to_string(format!("/sys/class/tty/{name}/type")).is_ok_and(|kind| kind.trim() != "0"))
        .collect()
}

fn start(name: &str) -> Option<SyncSender<Job>> {
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(format!("/dev/{name}")).ok()?;
    if name.starts_with("ttyS") {
        set_speed(&file);
    }
    let (queue, jobs) = sync_channel(QUEUE);
    thread::Builder::new().name(format!("console-{name}")).spawn(move || write_jobs(file, &jobs)).ok()?;
    Some(queue)
}

/// 115200 baud; a port that refuses stays as the firmware left it.
fn set_speed(file: &File) {
    if let Ok(mut settings) = tcgetattr(file)
        && settings.set_speed(speed::B115200).is_ok()
    {
        let _ = tcsetattr(file, OptionalActions::Now, &settings);
    }
}

fn write_jobs(mut file: File, jobs: &Receiver<Job>) {
    let mut in_place = false;
    for job in jobs {
        let text = match job {
            Job::Line(text) => {
                let start = if std::mem::take(&mut in_place) { "\n" } else { "" };
                format!("{start}{text}\n")
            }
            Job::Progress(text) => {
                in_place = true;
                format!("\r{text}")
            }
            Job::Flush(done) => {
                // Until the UART has sent it; an error changes nothing about being done.
                let _ = rustix::termios::tcdrain(&file);
                let _ = done.try_send(());
                continue;
            }
        };
        // A console that is gone must not stop the boot.
        let _ = file.write_all(text.as_bytes());
    }
}
