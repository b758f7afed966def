//! Booting over the network: what a machine may do, and what it is told.

mod counters;
mod lease;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::install::BootSlot;
use crate::{Fingerprint, MacAddress, Name, Secret, Timestamp};

pub use counters::PxeCounters;
pub use lease::{LeaseState, PxeLease};

/// What the PXE server does with a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BootPolicy {
    /// Seen, listed and left alone: its own disk boots. What nobody named gets this.
    #[default]
    Ignore,
    /// Boots our image.
    Image,
    /// Is told to boot its own disk.
    LocalDisk,
    /// Boots our initramfs and stays there, reachable over SSH.
    Hold,
    /// Boots the iPXE script that an admin gave it ([`BootOptions::script`]): any other system.
    Script,
}

/// What a machine is given beside its policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BootOptions {
    /// What it gets at its next boot only, in place of its policy: `image`, `local-disk` or `script`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once: Option<BootPolicy>,
    /// The adopted image that it boots at that one boot, where `once` is `image`; the boot server's installed one where
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub once_image: Option<Name>,
    /// The adopted image that it boots where its policy is `image` or `hold`; the boot server's installed one where
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Name>,
    /// Added to the kernel's command line of the image; at most [`MAX_KERNEL_ARGUMENTS`] bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_arguments: String,
    /// The iPXE script that [`BootPolicy::Script`] boots; at most [`MAX_SCRIPT`] bytes. `${files}` in it is the URL of the
    /// boot server's own files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

/// Bytes of [`BootOptions::kernel_arguments`].
pub const MAX_KERNEL_ARGUMENTS: usize = 512;
/// Bytes of [`BootOptions::script`].
pub const MAX_SCRIPT: usize = 16 << 10;

/// Whether a kernel command line can stand in a script: one line of printable ASCII in which iPXE
/// finds nothing to expand, to join or to end the command.
#[must_use]
pub fn is_command_line(text: &str) -> bool {
    text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        && !text.contains("${")
        && !text.split(' ').any(|word| matches!(word, "||" | "&&" | ";") || word.starts_with('#'))
}

/// What the initramfs asks before anything else: `GET /machine/<mac>/boot.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BootConfig {
    /// Version of this form.
    pub version: u32,
    /// What to do.
    pub action: BootAction,
    /// Whom to enrol with.
    pub cluster: BootCluster,
    /// A one-shot ticket, where an admin armed this machine.
    pub ticket: Option<Secret<String>>,
    /// Admins' public keys in OpenSSH form, for Dropbear.
    pub authorized_keys: Vec<String>,
    /// Serial number of the disk that holds the state of the node which this machine is; no other disk is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_disk: Option<String>,
    /// The name of that node, for people, and for the machine to tell what it was where that disk is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// SHA-256 of the manifest of the adopted image that it is to boot; `None` for the boot server's installed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

impl BootConfig {
    /// The form of `boot.json` that is known here.
    pub const VERSION: u32 = 1;
}

/// What the initramfs is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BootAction {
    /// Fetch the root and go on.
    Boot,
    /// Stay in the initramfs.
    Hold,
    /// Boot the machine's own disk.
    Local,
}

/// Where a machine enrols.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BootCluster {
    /// The cluster's name, for people.
    pub name: String,
    /// The cluster CA's key: the machine talks to nobody else.
    pub ca_fingerprint: Fingerprint,
    /// Base URLs of the API.
    pub api: Vec<String>,
}

/// What the initramfs leaves for the agent in `/run/meadow/boot-report.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct BootReport {
    /// `bios` or `uefi`.
    pub firmware: String,
    /// The interface that it booted from; for a root from a disk, one with an address.
    pub interface: String,
    /// Its hardware address.
    pub mac: Option<MacAddress>,
    /// The PXE server's base URL; empty where none was asked.
    pub base_url: String,
    /// Digest of the root that was booted, in hexadecimal.
    pub root_sha256: String,
    /// Where the root came from.
    pub root_from: RootFrom,
    /// The slot that it was in; `None` for one from the network.
    pub slot: Option<BootSlot>,
    /// Serial number of the disk that it was on; `None` for one from the network.
    pub disk: Option<String>,
    /// Whether it came from a stick.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stick: bool,
    /// The state that was opened and is `/var` now; `None` where that is in RAM and gone after a restart.
    pub state: Option<BootState>,
    /// Whose state was lost on this computer, where one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostState>,
    /// When each stage was reached.
    pub milestones: Vec<Milestone>,
}

/// A node whose state cannot be opened any more, as the record beside it says. Evidence for people, never an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LostState {
    /// The node that this computer was.
    pub node: Name,
    /// Its cluster's name.
    pub cluster: String,
    /// That cluster's CA.
    pub ca_fingerprint: Fingerprint,
    /// What is wrong with the state.
    pub why: String,
}

/// Where a root came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RootFrom {
    /// Fetched from a server into memory.
    #[default]
    Network,
    /// On a partition.
    Disk,
}

/// A node's own state, opened before the root was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BootState {
    /// Serial number of its disk; empty where the disk has none.
    pub serial: String,
}

/// A stage of the boot and when it was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Milestone {
    /// Name of the stage.
    pub stage: String,
    /// Milliseconds since the kernel started.
    pub uptime_ms: u64,
}

/// One line of a machine's boot log, as the PXE server saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BootEvent {
    /// Counts up; give the last one seen to get only what came after.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// The machine; absent where it is about the server itself.
    pub mac: Option<MacAddress>,
    /// Stable code: `pxe.seen`, `pxe.ignored`, `pxe.offered`, `pxe.asked`, `pxe.sent`, `pxe.progress`, `pxe.failed`,
    /// `pxe.conflict`, `pxe.server`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// How far the boot of a machine is, as the PXE server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineBoot {
    /// Its network card.
    pub mac: MacAddress,
    /// Its firmware, for people.
    pub firmware: Option<String>,
    /// Its address, where known.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// The form of offer that its firmware took: `direct`, `boot-server`, `http`; `None` until it took one.
    pub form: Option<String>,
    /// Version of the image that it was given; before that, of the one that it is to boot. `None` where it boots none.
    pub image: Option<String>,
    /// The stage that it reached last, for people.
    pub stage: String,
    /// Whether it is under way: neither left alone nor handed over to its system, and heard of in the last ten minutes.
    #[serde(default)]
    pub under_way: bool,
    /// How much of that stage is done.
    pub percent: Option<u8>,
    /// What it said or did last.
    pub message: String,
    /// Whether that was a failure.
    pub failed: bool,
    /// Why it waits, where nobody has to do anything.
    pub waits_for: Option<String>,
    /// What a person does next, where it goes on no more.
    pub next_step: Option<String>,
    /// When it was last heard of.
    pub last_seen: Timestamp,
}

/// Something that a boot over the network needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PxeCheck {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// How it is.
    pub text: String,
    /// What to do, where it is not.
    pub next_step: Option<String>,
}

/// The state of the PXE server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PxeStatus {
    /// Whether it serves on one interface at least.
    pub serving: bool,
    /// The interfaces that it serves or waits for; none where PXE is not configured.
    pub interfaces: Vec<PxeInterface>,
    /// Until when every machine is booted; `None` while the window is closed.
    pub open_until: Option<Timestamp>,
    /// What keeps it from serving on all interfaces alike, in words with the next step.
    pub problems: Vec<String>,
    /// What it has done since it started; `None` where it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<PxeCounters>,
}

impl PxeStatus {
    /// All problems: of the server, then of each interface. Each names its interface.
    pub fn all_problems(&self) -> impl Iterator<Item = &String> {
        self.problems.iter().chain(self.interfaces.iter().flat_map(|interface| &interface.problems))
    }
}

/// An interface of the PXE server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PxeInterface {
    /// Its name.
    pub name: String,
    /// Whether machines are served there.
    pub serving: bool,
    /// Base URL of the boot files for machines on it; `None` while it has no address.
    pub base_url: Option<String>,
    /// Whether addresses are given out there now.
    pub leases: bool,
    /// What is not served there, its code first, then in words with the next step.
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_that_would_break_the_script_are_refused() {
        assert!(is_command_line("quiet loglevel=3 lsm=landlock,lockdown"));
        for text in ["a\nb", "a || shell", "a && shell", "x ${net0/mac}", "a ; b", "a # b", "ü"] {
            assert!(!is_command_line(text), "{text:?}");
        }
    }
}
