//! udev's database of block devices.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use meadow_host::{Clock, SystemClock, files};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use udev::{Device, Enumerator, MonitorBuilder};

use super::disks::{UdevProperties, UdevSource};

/// The database of the machine that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdevDatabase;

impl UdevSource for UdevDatabase {
    fn block_device(&self, name: &str) -> Option<UdevProperties> {
        let device = Device::from_subsystem_sysname("block".into(), name.into()).ok()?;
        if !device.is_initialized() {
            return None;
        }
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        Some(device.properties().map(|property| (text(property.name()), text(property.value()))).collect())
    }
}

/// Waits until udev has looked at every block device there is now, as long as there is a udev and at most `timeout`.
pub(super) fn wait_until_initialized(timeout: Duration) {
    if !files::exists(Path::new("/run/udev/control")) {
        return;
    }
    if let Err(error) = wait(timeout) {
        tracing::warn!(%error, "cannot wait for udev; disks that it has not looked at are reported as unknown");
    }
}

fn wait(timeout: Duration) -> std::io::Result<()> {
    let monitor = MonitorBuilder::new()?.match_subsystem("block")?.listen()?;
    let deadline = SystemClock.boottime() + timeout;
    // The socket listens before the look, so that no event between them is missed.
    while !all_initialized()? {
        let left = deadline.saturating_sub(SystemClock.boottime());
        if left.is_zero() {
            return Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        }
        let fd = monitor.as_fd();
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        retry_on_intr(|| poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)))?;
        monitor.iter().for_each(drop);
    }
    Ok(())
}

fn all_initialized() -> std::io::Result<bool> {
    let mut enumerator = Enumerator::new()?;
    enumerator.match_subsystem("block")?;
    Ok(enumerator.scan_devices()?.all(|device| device.is_initialized()))
}
