//! What the initramfs tells the booted system, in `/run`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::network::{FixedCard, networkd_files};
use crate::slot::Slot;
use crate::system::{RUN_DIR, write_public};

/// Public half of the key that this image was built with.
const BUILD_KEY: &str = "/meadow/build-key.pem";
/// What the stub of a unified kernel image leaves of it, for a TPM: the agent's helper seals by it.
const MEASURED: &str = "/.extra";
const FOR_TPM: [&str; 2] = ["tpm2-pcr-public-key.pem", "tpm2-pcr-signature.json"];
const WANTS: &str = "/run/systemd/system/multi-user.target.wants";
const NETWORKD: &str = "/run/systemd/network";
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
    /// Its hardware address, with colons; `None` where no card was found.
    pub mac: Option<String>,
    /// The server's base URL; empty where none was asked.
    pub base_url: String,
    /// Digest of the root image that was checked.
    pub root_sha256: String,
    /// Where the root came from.
    pub root_from: RootFrom,
    /// The slot that it was in; `None` for one from the network.
    pub slot: Option<Slot>,
    /// Serial number of the disk that it was on; `None` for one from the network.
    pub disk: Option<String>,
    /// Whether this boot came from a stick.
    pub stick: bool,
    /// The node's own, mounted as `/var`; `None` where that is in RAM.
    pub state: Option<StateReport>,
    /// Whose state was lost on this computer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostState>,
    /// All steps so far.
    pub milestones: Vec<Milestone>,
}

/// Where a root came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootFrom {
    /// A server.
    Network,
    /// A partition.
    Disk,
}

/// A node whose state cannot be opened any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostState {
    /// The node.
    pub node: String,
    /// Its cluster's name.
    pub cluster: String,
    /// That cluster's CA.
    pub ca_fingerprint: String,
    /// What is wrong with the state.
    pub why: String,
}

/// A state that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateReport {
    /// Serial number of its disk.
    pub serial: String,
}

impl BootReport {
    /// Which firmware started the kernel.
    #[must_use]
    pub fn firmware() -> &'static str {
        if Path::new("/sys/firmware/efi").exists() { "uefi" } else { "bios" }
    }
}

/// Writes the report, asks for a console on each terminal, and leaves the cards' fixed addresses to systemd-networkd.
///
/// # Errors
/// If `/run` cannot be written.
pub fn write(report: &BootReport, terminals: &[String], fixed: &[FixedCard]) -> anyhow::Result<()> {
    write_public(&format!("{RUN_DIR}/boot-report.json"), &serde_json::to_vec_pretty(report)?)?;
    // The agent checks the manifests of other images by it.
    let build_key = fs::read(BUILD_KEY).with_context(|| format!("cannot read {BUILD_KEY}"))?;
    write_public(&format!("{RUN_DIR}/build-key.pem"), &build_key)?;
    for name in FOR_TPM {
        match fs::read(Path::new(MEASURED).join(name)) {
            Ok(bytes) => write_public(&format!("{RUN_DIR}/{name}"), &bytes)?,
            // Not started as a unified kernel image.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        }
    }
    if !fixed.is_empty() {
        fs::create_dir_all(NETWORKD).with_context(|| format!("cannot make {NETWORKD}"))?;
    }
    for (name, text) in networkd_files(fixed) {
        write_public(&format!("{NETWORKD}/{name}"), text.as_bytes())?;
    }
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
