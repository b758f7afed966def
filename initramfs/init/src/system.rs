//! First steps of PID 1: kernel file systems, clock, memory.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::Mode;
use rustix::mount::MountFlags;

/// Directory of everything that is handed to the root.
pub const RUN_DIR: &str = "/run/meadow";

/// Time since power-on, as far as the kernel knows (it begins when the kernel does).
#[must_use]
pub fn uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Mounts `/proc`, `/sys`, `/dev`, `/dev/pts` and `/run`.
///
/// # Errors
/// Names the file system that the kernel refused.
pub fn mount_kernel_file_systems() -> anyhow::Result<()> {
    let strict = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let device = MountFlags::NOSUID | MountFlags::NOEXEC;
    let mounts = [
        ("proc", "/proc", strict, None),
        ("sysfs", "/sys", strict, None),
        ("devtmpfs", "/dev", MountFlags::NOSUID, Some(c"mode=0755")),
        ("devpts", "/dev/pts", device, Some(c"mode=0600,ptmxmode=0000")),
        ("tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0755,size=20%")),
    ];
    for (kind, target, flags, data) in mounts {
        fs::create_dir_all(target).with_context(|| format!("cannot make {target}"))?;
        rustix::mount::mount(kind, target, kind, flags, data).with_context(|| format!("cannot mount {target}"))?;
    }
    fs::create_dir_all(RUN_DIR).with_context(|| format!("cannot make {RUN_DIR}"))?;
    Ok(())
}

/// Writes a file for nobody but root, whole or not at all.
///
/// # Errors
/// If the file system refuses.
pub fn write_private(path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    write_atomically(path, bytes, Mode::RUSR | Mode::WUSR)
}

/// Writes a file that everybody may read, whole or not at all.
///
/// # Errors
/// If the file system refuses.
pub fn write_public(path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    write_atomically(path, bytes, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH)
}

fn write_atomically(path: &str, bytes: &[u8], mode: Mode) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let context = || format!("cannot write {path}");
    let fresh = format!("{path}.new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode.bits())
        .open(&fresh)
        .with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    fs::rename(&fresh, path).with_context(context)
}

/// Random bits for transaction ids; good enough before the kernel's pool is full.
#[must_use]
pub fn random_seed() -> u64 {
    let mut bytes = [0_u8; 8];
    let flags = rustix::rand::GetRandomFlags::INSECURE;
    if rustix::rand::getrandom(&mut bytes, flags).is_err() {
        // A seed that differs from boot to boot is all that is left.
        return uptime().as_nanos().try_into().unwrap_or(1);
    }
    u64::from_ne_bytes(bytes)
}

/// Bytes of memory that programs can still get (`MemAvailable`).
///
/// # Errors
/// If `/proc/meminfo` cannot be read.
pub fn available_memory() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    parse_available(&text).context("/proc/meminfo has no MemAvailable")
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:        1000 kB\nMemFree:           10 kB\nMemAvailable:     500 kB\n";
        assert_eq!(parse_available(text), Some(512_000));
        assert_eq!(parse_available("MemTotal: 1 kB\n"), None);
        assert_eq!(parse_available("MemAvailable: many\n"), None);
    }
}
