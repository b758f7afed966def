//! Telling that a computer was here before, or that two look the same. Evidence for people, never an identity.

use std::collections::BTreeSet;

use meadow_model::hardware::Hardware;
use meadow_model::machine::{Machine, MachinePhase};
use meadow_model::node::Node;
use meadow_model::{MacAddress, enrolment};

use crate::command::ClaimRecord;

/// All hardware addresses of a claim, without the ones that mean nothing.
pub(crate) fn macs_of_claim(claim: &ClaimRecord) -> Vec<MacAddress> {
    let all: BTreeSet<MacAddress> = claim.mac.into_iter().chain(enrolment::macs(&claim.hardware)).collect();
    all.into_iter().filter(|mac| mac.0 != [0; 6] && mac.0 != [0xff; 6]).collect()
}

/// Whether a claim comes from the computer that `node` was: a common MAC address and the same disks by serial.
pub(crate) fn looks_like(claim: &ClaimRecord, node: &Node) -> bool {
    let Some(hardware) = &node.status.hardware else { return false };
    shares_mac(claim, node) && serials(hardware) == serials(&claim.hardware)
}

/// Whether a claim comes with a MAC address of `node`.
pub(crate) fn shares_mac(claim: &ClaimRecord, node: &Node) -> bool {
    let macs = macs_of_claim(claim);
    node.spec.macs.iter().any(|mac| macs.contains(mac))
}

fn serials(hardware: &Hardware) -> BTreeSet<&str> {
    hardware.disks.iter().filter_map(|disk| disk.serial.as_deref()).collect()
}

/// What two computers have in common that should be a computer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    Mac(MacAddress),
    Uuid,
}

impl Shared {
    pub(crate) fn event_code(self) -> &'static str {
        match self {
            Self::Mac(_) => "duplicate-mac",
            Self::Uuid => "duplicate-uuid",
        }
    }

    pub(crate) fn hint(self, other: &str) -> String {
        match self {
            Self::Mac(mac) => format!("{other} has the same MAC address {mac}"),
            Self::Uuid => format!("{other} has the same SMBIOS UUID"),
        }
    }
}

/// What a claim has in common with a machine that carries another key; `None` where that one did not ask to enrol or
/// was turned away.
pub(crate) fn shared_with(claim: &ClaimRecord, machine: &Machine) -> Option<Shared> {
    let alive = matches!(machine.status.phase, MachinePhase::Pending | MachinePhase::Approved);
    if !alive || machine.status.fingerprint.is_none() || machine.status.fingerprint == Some(claim.fingerprint) {
        return None;
    }
    let theirs = machine.status.hardware.as_ref();
    let has = |mac: &MacAddress| {
        machine.status.mac == Some(*mac) || theirs.is_some_and(|h| h.nics.iter().any(|nic| nic.mac == *mac))
    };
    if let Some(mac) = macs_of_claim(claim).into_iter().find(has) {
        return Some(Shared::Mac(mac));
    }
    let uuid = meaningful_uuid(&claim.hardware)?;
    (theirs.and_then(meaningful_uuid)? == uuid).then_some(Shared::Uuid)
}

/// The SMBIOS UUID, unless it is one that makers of cheap boards leave in: all zeros or all ones.
fn meaningful_uuid(hardware: &Hardware) -> Option<String> {
    let digits: String = hardware.uuid.as_ref()?.chars().filter(char::is_ascii_hexdigit).collect();
    let digits = digits.to_ascii_lowercase();
    let meaningful = digits.len() == 32 && digits.chars().any(|c| c != '0') && digits.chars().any(|c| c != 'f');
    meaningful.then_some(digits)
}
