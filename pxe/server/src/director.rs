//! The boot server's questions to the rest of Meadow.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;
use meadow_model::MacAddress;
use meadow_model::boot::BootOptions;
use meadow_netboot::{BootDecision, BootImage, EventKind, Firmware, Sighting};
use serde::Serialize;

/// Decides which machine boots what. Called from the packet path: answer from memory, never block,
/// and never call the server's [handle](crate::PxeHandle) from inside (its lock is held).
pub trait Director: Send + Sync + 'static {
    /// What to do with a machine that asks to be booted.
    fn decide(&self, sighting: &Sighting) -> BootDecision;

    /// The same for a machine that asks for its script over HTTP: it has asked by DHCP before, and asks again where the
    /// answer was lost.
    fn decide_script(&self, sighting: &Sighting) -> BootDecision {
        self.decide(sighting)
    }

    /// A machine's firmware was left to its own disk, as [`Self::decide`] wanted. Told at each request of it, under the
    /// same conditions.
    fn left_to_its_disk(&self, _mac: MacAddress) {}

    /// The body of `boot.json` for a machine, `None` if it is not to boot (404). It may hold a
    /// ticket: it is served to whoever asks with this MAC address, and never logged.
    fn boot_config(&self, mac: MacAddress) -> Option<serde_json::Value>;

    /// What a machine is given beside its policy.
    fn options(&self, mac: MacAddress) -> BootOptions;

    /// The image that a machine boots where its policy is to boot one.
    fn image(&self, _mac: MacAddress) -> BootImage {
        BootImage::Installed
    }

    /// Digests of the adopted images that some machine is to boot: they are checked beforehand, and only they are
    /// served, for ten minutes longer than they are named here. Asked every few seconds, never from the packet path.
    fn images(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Told of each event after it was recorded.
    fn event(&self, event: &BootEvent);
}

/// Something that happened, with its time and machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootEvent {
    /// Counts up from 1 for each server; the `since` of [`crate::PxeHandle::events`].
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// Which machine, `None` for the server itself.
    pub mac: Option<MacAddress>,
    /// Its firmware, where known.
    pub firmware: Option<Firmware>,
    /// Its IP address, where known.
    pub address: Option<IpAddr>,
    /// Stable code for programs, such as `pxe.offered`.
    pub code: &'static str,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// The same for people.
    pub text: String,
}

impl std::fmt::Display for BootEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(mac) = self.mac {
            write!(f, "{mac} ")?;
        }
        if let Some(address) = self.address {
            write!(f, "{address} ")?;
        }
        if let Some(firmware) = self.firmware {
            write!(f, "[{firmware}] ")?;
        }
        f.write_str(&self.text)
    }
}
