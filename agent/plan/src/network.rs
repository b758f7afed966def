//! How network cards are set: the files that systemd-networkd reads, and the course of a trial.

mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use meadow_model::network::{CardId, CardNetwork};

pub use trial::{Kept, NotNow, Stage, Trial};

/// Begins the names of our files, in the initramfs too.
pub const PREFIX: &str = "05-meadow-";

/// What has to be done to a folder of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Files to be there, with their text.
    pub write: BTreeMap<String, String>,
    /// Files to go.
    pub remove: BTreeSet<String>,
}

/// All settings after a change: the cards that `wanted` names do that and nothing else.
#[must_use]
pub fn merged(current: &[CardNetwork], wanted: &[CardNetwork]) -> Vec<CardNetwork> {
    let named: BTreeSet<_> = wanted.iter().map(|network| network.card.mac).collect();
    let others = current.iter().filter(|network| !named.contains(&network.card.mac));
    let alone = |network: &&CardNetwork| wanted.iter().filter(|other| other.card.mac == network.card.mac).count() == 1;
    // A card that simply asks DHCP does so without being told.
    let told = wanted.iter().filter(|network| !(network.is_default() && alone(network)));
    others.chain(told).cloned().collect()
}

/// The files for `settings`, where those named `present` are there now.
///
/// A file of ours never goes while its card is there: the image's own file keeps the addresses that a card has, so a card
/// that is back at DHCP is told to drop them. A VLAN that is not wanted any more is set down, since systemd-networkd removes
/// no interface.
#[must_use]
pub fn files(settings: &[CardNetwork], present: &BTreeSet<String>) -> Files {
    let mut cards: BTreeMap<&str, Vec<&CardNetwork>> = BTreeMap::new();
    for network in settings {
        cards.entry(&network.card.name).or_default().push(network);
    }
    let mut files = Files::default();
    for (name, networks) in &cards {
        add_card(&mut files, name, networks);
    }
    for file in present.iter().filter(|file| file.starts_with(PREFIX)) {
        if files.write.contains_key(file) {
            continue;
        }
        match file.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(".network")) {
            Some(vlan) if vlan.contains('.') => files.write.insert(file.clone(), unused(vlan)),
            Some(card) => files.write.insert(file.clone(), card_file(&format!("Name={card}"), &[], &BTreeSet::new())),
            None => {
                files.remove.insert(file.clone());
                None
            }
        };
    }
    files
}

fn add_card(files: &mut Files, name: &str, networks: &[&CardNetwork]) {
    let Some(CardId { mac, .. }) = networks.first().map(|network| &network.card) else { return };
    let vlans: BTreeSet<u16> = networks.iter().filter_map(|network| network.vlan).collect();
    let links: BTreeSet<String> = vlans.iter().map(|vlan| format!("{name}.{vlan}")).collect();
    let of = |vlan: Option<u16>| networks.iter().copied().filter(|n| n.vlan == vlan).collect::<Vec<_>>();
    let matched = format!("MACAddress={mac}\nType=ether\nKind=!*");
    let untagged = of(None);
    let text =
        if untagged.is_empty() { no_addresses(&matched, &links) } else { card_file(&matched, &untagged, &links) };
    files.write.insert(format!("{PREFIX}{name}.network"), text);
    for vlan in vlans {
        let link = format!("{name}.{vlan}");
        let netdev = format!("[NetDev]\nName={link}\nKind=vlan\n\n[VLAN]\nId={vlan}\n");
        files.write.insert(format!("{PREFIX}{link}.netdev"), netdev);
        let text = card_file(&format!("Name={link}"), &of(Some(vlan)), &BTreeSet::new());
        files.write.insert(format!("{PREFIX}{link}.network"), text);
    }
}

/// The file of a card or a VLAN; without networks it asks DHCP.
fn card_file(matched: &str, networks: &[&CardNetwork], vlans: &BTreeSet<String>) -> String {
    let dhcp = networks.is_empty() || networks.iter().any(|network| network.address.is_none());
    let mut text = head(matched, if dhcp { "ipv4" } else { "no" }, "ipv6", "yes");
    for network in networks {
        if let Some(address) = &network.address {
            let _ = writeln!(text, "Address={address}");
        }
        for server in &network.dns {
            let _ = writeln!(text, "DNS={server}");
        }
    }
    for vlan in vlans {
        let _ = writeln!(text, "VLAN={vlan}");
    }
    for gateway in networks.iter().filter_map(|network| network.gateway) {
        let _ = write!(text, "\n[Route]\nGateway={gateway}\nGatewayOnLink=yes\n");
    }
    if dhcp {
        // As in the image's own file: the same identity as in firmware and initrd, so the same address.
        text.push_str("\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\nUseDomains=no\nSendHostname=no\n");
    }
    text
}

/// A card that only carries VLANs.
fn no_addresses(matched: &str, vlans: &BTreeSet<String>) -> String {
    let mut text = head(matched, "no", "ipv6", "yes");
    for vlan in vlans {
        let _ = writeln!(text, "VLAN={vlan}");
    }
    text
}

fn unused(vlan: &str) -> String {
    head(&format!("Name={vlan}"), "no", "no", "no").replace("[Link]\n", "[Link]\nActivationPolicy=down\n")
}

fn head(matched: &str, dhcp: &str, link_local: &str, accept_ra: &str) -> String {
    format!(
        "[Match]\n{matched}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP={dhcp}\nIPv6AcceptRA={accept_ra}\n\
         LinkLocalAddressing={link_local}\nKeepConfiguration=no\n"
    )
}
