//! The machine that the numbers come from.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use meadow_rack::versions;
use serde::Serialize;

/// What it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    /// Name of the processor.
    pub(crate) processor: String,
    /// How many the system shows.
    pub(crate) processors: usize,
    /// Memory.
    pub(crate) memory_gib: f64,
    /// Distribution.
    pub(crate) system: String,
    /// Version of the kernel.
    pub(crate) kernel: String,
    /// Version of QEMU.
    pub(crate) qemu: String,
    /// Versions of firmware and boot loaders.
    pub(crate) firmware: String,
}

impl Host {
    /// Looks at this machine.
    ///
    /// # Errors
    /// When /proc cannot be read or QEMU is missing.
    pub(crate) fn look() -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kib: f64 = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0.0);
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown system");
        Ok(Self {
            processor: field(&processors, "model name").unwrap_or("unknown processor").to_owned(),
            processors: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: kib / f64::from(1 << 20),
            system: system.trim_matches('"').to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            qemu: qemu_version()?,
            firmware: versions::of_firmware()?,
        })
    }
}

/// The load average over one minute; not a number where it cannot be read.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

fn qemu_version() -> Result<String> {
    let output = Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()
        .context("cannot run qemu-system-x86_64; `make packages` installs it")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or("QEMU").replace("emulator version ", ""))
}

/// The value of the first line `name: value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_files() {
        assert_eq!(field("processor\t: 0\nmodel name\t: X 1: y\n", "model name"), Some("X 1: y"));
        assert_eq!(field("MemTotal:  10 kB\n", "MemFree"), None);
    }
}
