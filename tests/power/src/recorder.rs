//! Records what is written to a file that stands for a disk: QEMU's storage daemon shows it through FUSE and logs every
//! write and flush, whichever program or file system of the host they come from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::WriteLog;

const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// A running record. Dropped without [`Recorder::stop`] it ends all the same, and the file is what it has become.
#[derive(Debug)]
pub struct Recorder {
    disk: PathBuf,
    raw: PathBuf,
    log: PathBuf,
    daemon: Option<Child>,
}

impl Recorder {
    /// From now on what is written to `disk` is recorded; nobody may have it open. `base` becomes a copy of it as it is.
    ///
    /// # Errors
    /// When a file cannot be made, or the daemon does not show the disk.
    pub fn start(disk: &Path, base: &Path, log: &Path) -> Result<Self> {
        copy(disk, base)?;
        let raw = disk.with_extension("raw");
        let size = fs::metadata(disk)?.len();
        fs::rename(disk, &raw)?;
        File::create(disk)?;
        File::create(log)?;
        let mut daemon = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &format!("driver=file,node-name=disk,discard=unmap,filename={}", raw.display())])
            .args(["--blockdev", &format!("driver=file,node-name=log,filename={}", log.display())])
            .args(["--blockdev", "driver=blklogwrites,node-name=both,file=disk,log=log,log-sector-size=512"])
            .args(["--export", &format!("fuse,id=shown,node-name=both,writable=on,mountpoint={}", disk.display())])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot run qemu-storage-daemon (package qemu-system-common)")?;
        let end = Instant::now() + READY;
        while fs::metadata(disk)?.len() != size || size == 0 {
            if let Some(status) = daemon.try_wait()? {
                bail!("qemu-storage-daemon ended ({status}) before it showed {}", disk.display());
            }
            ensure!(Instant::now() < end, "qemu-storage-daemon does not show {}", disk.display());
            thread::sleep(POLL);
        }
        Ok(Self { disk: disk.to_owned(), raw, log: log.to_owned(), daemon: Some(daemon) })
    }

    /// Ends it; nobody may have the disk open. The disk is then a plain file again.
    ///
    /// # Errors
    /// When the daemon failed or its log cannot be read.
    pub fn stop(mut self) -> Result<WriteLog> {
        self.end()?;
        WriteLog::open(&self.log)
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let id = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw).context("a daemon without an id")?;
        kill_process(id, Signal::TERM)?;
        let status = daemon.wait()?;
        fs::rename(&self.raw, &self.disk)?;
        ensure!(status.success(), "qemu-storage-daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the record of {} did not end well: {error:#}", self.disk.display());
        }
    }
}

/// Copies a disk, with its holes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").args(["--sparse=always", "--"]).args([from, to]).status();
    ensure!(copied.context("cannot run cp")?.success(), "cannot copy {}", from.display());
    Ok(())
}
