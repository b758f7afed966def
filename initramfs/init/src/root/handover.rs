//! What the initramfs tells the booted system, in `/run`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::system::{RUN_DIR, write_public};

const WANTS: &str = "/run/systemd/system/multi-user.target.wants";
const CONSOLE_UNIT: &str = "/usr/lib/systemd/system/meadow-console@.service";

/// A step of the boot and when it was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Milestone {
    /// Name of the step.
    pub stage: String,
    /// Milliseconds since the kernel started.
    pub uptime_ms: u64,
}

/// `/run/meadow/boot-report.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootReport {
    /// `bios` or `uefi`.
    pub firmware: &'static str,
    /// The interface that found the server.
    pub interface: String,
    /// Its hardware address, with colons.
    pub mac: String,
    /// The server's base URL.
    pub base_url: String,
    /// Digest of the root image that was checked.
    pub root_sha256: String,
    /// All steps so far.
    pub milestones: Vec<Milestone>,
}

impl BootReport {
    /// Which firmware started the kernel.
    #[must_use]
    pub fn firmware() -> &'static str {
        if Path::new("/sys/firmware/efi").exists() { "uefi" } else { "bios" }
    }
}

/// Writes the report and asks for a console on each terminal.
///
/// # Errors
/// If `/run` cannot be written.
pub fn write(report: &BootReport, terminals: &[String]) -> anyhow::Result<()> {
    write_public(&format!("{RUN_DIR}/boot-report.json"), &serde_json::to_vec_pretty(report)?)?;
    fs::create_dir_all(WANTS).with_context(|| format!("cannot make {WANTS}"))?;
    for terminal in terminals {
        let link = format!("{WANTS}/meadow-console@{terminal}.service");
        match symlink(CONSOLE_UNIT, &link) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make {link}"));
            }
            _ => {}
        }
    }
    Ok(())
}
