//! Which machine is booted how. The default is to leave a machine alone.

use std::collections::BTreeMap;

use meadow_model::MacAddress;
use meadow_model::boot::BootPolicy;
use serde::{Deserialize, Serialize};

use crate::arch::Firmware;

/// Which program on the machine asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// Firmware that speaks PXE.
    Pxe,
    /// UEFI firmware that boots over HTTP.
    HttpBoot,
    /// iPXE, in a ROM or chain-loaded by us.
    Ipxe,
    /// Our initrd, with DHCP vendor class `Meadow:1` or over HTTP.
    Initrd,
}

/// A machine that asks to be booted, as it shows itself on the network. Nothing here is proof of
/// an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The address of the network card that asks.
    pub mac: MacAddress,
    /// Its firmware, where it is known: a request over HTTP alone does not tell.
    pub firmware: Option<Firmware>,
    /// Which program asks.
    pub client: ClientKind,
    /// SMBIOS UUID as sent (option 97). Often absent, all ones or the same on many boards.
    pub uuid: Option<[u8; 16]>,
}

/// What to do with one machine now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BootDecision {
    /// What it gets.
    pub policy: BootPolicy,
    /// Treat an iPXE ROM as if it were plain PXE firmware: it gets our own boot loader over TFTP
    /// first, and the script only after it has fetched that.
    #[serde(default)]
    pub plain_pxe: bool,
}

/// The image that a machine boots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootImage {
    /// The one that is installed on the boot server.
    #[default]
    Installed,
    /// Another one that the cluster adopted: SHA-256 of its manifest, in lower-case hexadecimal.
    Adopted(String),
}

impl BootDecision {
    /// A decision without special treatment.
    #[must_use]
    pub fn new(policy: BootPolicy) -> Self {
        Self { policy, plain_pxe: false }
    }
}

/// Decides from a list of machines and a window in which unknown machines boot too.
#[derive(Debug, Clone, Default)]
pub struct PolicyTable {
    machines: BTreeMap<MacAddress, BootDecision>,
    open_until: Option<u64>,
}

impl PolicyTable {
    /// Names a machine; a later call for the same address replaces an earlier one.
    pub fn set(&mut self, mac: MacAddress, decision: BootDecision) {
        self.machines.insert(mac, decision);
    }

    /// Machines that nobody named boot the image until this time (Unix seconds), `None` closes
    /// the window.
    pub fn open_until(&mut self, until: Option<u64>) {
        self.open_until = until;
    }

    /// The decision for a machine at a time (Unix seconds). A named machine's own policy always
    /// goes before the window.
    #[must_use]
    pub fn decide(&self, mac: MacAddress, now: u64) -> BootDecision {
        if let Some(decision) = self.machines.get(&mac) {
            return *decision;
        }
        match self.open_until {
            Some(until) if now < until => BootDecision::new(BootPolicy::Image),
            _ => BootDecision::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_machines_boot_only_while_the_window_is_open() {
        let known = MacAddress([2, 0, 0, 0, 0, 1]);
        let stranger = MacAddress([2, 0, 0, 0, 0, 2]);
        let mut table = PolicyTable::default();
        table.set(known, BootDecision::new(BootPolicy::Ignore));
        table.open_until(Some(100));
        assert_eq!(table.decide(stranger, 99).policy, BootPolicy::Image);
        assert_eq!(table.decide(known, 99).policy, BootPolicy::Ignore, "its own policy goes first");
        assert_eq!(table.decide(stranger, 100).policy, BootPolicy::Ignore);
        table.open_until(None);
        assert_eq!(table.decide(stranger, 0).policy, BootPolicy::Ignore);
    }
}
