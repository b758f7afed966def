//! How a card is set: the files that systemd-networkd reads. The initramfs writes them for the system that it starts, the disk
//! helper for the one that runs, over the same names; so both say the same in the same words.
//!
//! It has no dependencies: PID 1 of the initramfs is made with it too.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// Begins the names of our files.
pub const PREFIX: &str = "05-meadow-";

/// A network that a card is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// VLAN identifier, where the port is tagged.
    pub vlan: Option<u16>,
    /// Address and prefix length; `None`: DHCP.
    pub address: Option<String>,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// DNS servers.
    pub dns: Vec<IpAddr>,
}

/// What becomes of the addresses that a card has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// They stay: the initramfs set them, and the state is opened over them.
    Keep,
    /// They go: the card is set otherwise.
    Drop,
}

impl fmt::Display for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Keep { "yes" } else { "no" })
    }
}

/// Name of the kernel's interface for a VLAN on a card.
#[must_use]
pub fn vlan_name(card: &str, vlan: u16) -> String {
    format!("{card}.{vlan}")
}

/// The files for a card with this name and hardware address (`52:54:00:…`) that is in these networks: names and text. One that
/// is in VLANs only has no address of its own.
#[must_use]
pub fn files(card: &str, mac: &str, networks: &[Network], present: Present) -> Vec<(String, String)> {
    let vlans: BTreeSet<u16> = networks.iter().filter_map(|network| network.vlan).collect();
    let links: Vec<String> = vlans.iter().map(|vlan| vlan_name(card, *vlan)).collect();
    let of = |vlan| networks.iter().filter(|network| network.vlan == vlan).collect::<Vec<_>>();
    let matched = format!("MACAddress={mac}\nType=ether\nKind=!*");
    let mut files = vec![(format!("{PREFIX}{card}.network"), link(&matched, &of(None), &links, present))];
    for (vlan, name) in vlans.iter().zip(&links) {
        let netdev = format!("[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={vlan}\n");
        files.push((format!("{PREFIX}{name}.netdev"), netdev));
        let text = link(&format!("Name={name}"), &of(Some(*vlan)), &[], present);
        files.push((format!("{PREFIX}{name}.network"), text));
    }
    files
}

/// The text for a card that asks DHCP again, and drops what it was told before.
#[must_use]
pub fn back_to_dhcp(card: &str) -> String {
    link(&format!("Name={card}"), &[&Network::default()], &[], Present::Drop)
}

/// The text for a VLAN's interface that is not wanted any more: systemd-networkd removes none, so it is set down.
#[must_use]
pub fn unused(vlan: &str) -> String {
    head(&format!("Name={vlan}"), "\nActivationPolicy=down", "no", "no", "no", Present::Drop)
}

/// The file of a card or a VLAN.
fn link(matched: &str, networks: &[&Network], vlans: &[String], present: Present) -> String {
    let dhcp = networks.iter().any(|network| network.address.is_none());
    let mut text = head(matched, "", if dhcp { "ipv4" } else { "no" }, "yes", "ipv6", present);
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

fn head(matched: &str, policy: &str, dhcp: &str, accept_ra: &str, link_local: &str, present: Present) -> String {
    format!(
        "[Match]\n{matched}\n\n[Link]{policy}\nRequiredForOnline=no\n\n[Network]\nDHCP={dhcp}\nIPv6AcceptRA={accept_ra}\n\
         LinkLocalAddressing={link_local}\nKeepConfiguration={present}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(vlan: Option<u16>) -> Network {
        let (gateway, dns) = (Some("192.0.2.1".parse().unwrap()), vec!["192.0.2.53".parse().unwrap()]);
        Network { vlan, address: Some("192.0.2.7/24".to_owned()), gateway, dns }
    }

    #[test]
    fn a_card_with_an_address_carries_a_vlan_with_dhcp() {
        let dhcp = Network { vlan: Some(7), ..Network::default() };
        let files = files("eth0", "52:54:00:00:00:01", &[fixed(None), dhcp], Present::Keep);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["05-meadow-eth0.network", "05-meadow-eth0.7.netdev", "05-meadow-eth0.7.network"]);
        let card = "[Match]\nMACAddress=52:54:00:00:00:01\nType=ether\nKind=!*\n\n[Link]\nRequiredForOnline=no\n\n\
                    [Network]\nDHCP=no\nIPv6AcceptRA=yes\nLinkLocalAddressing=ipv6\nKeepConfiguration=yes\n\
                    Address=192.0.2.7/24\nDNS=192.0.2.53\nVLAN=eth0.7\n\n[Route]\nGateway=192.0.2.1\nGatewayOnLink=yes\n";
        assert_eq!(files[0].1, card);
        assert_eq!(files[1].1, "[NetDev]\nName=eth0.7\nKind=vlan\n\n[VLAN]\nId=7\n");
        let vlan = "[Match]\nName=eth0.7\n\n[Link]\nRequiredForOnline=no\n\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=yes\n\
                    LinkLocalAddressing=ipv6\nKeepConfiguration=yes\n\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\n\
                    UseDomains=no\nSendHostname=no\n";
        assert_eq!(files[2].1, vlan);
    }

    #[test]
    fn a_card_that_only_carries_vlans_asks_nobody() {
        let files = files("eth0", "52:54:00:00:00:01", &[fixed(Some(9)), fixed(Some(7))], Present::Drop);
        let card = &files[0].1;
        assert!(
            card.contains("DHCP=no\n") && card.ends_with("KeepConfiguration=no\nVLAN=eth0.7\nVLAN=eth0.9\n"),
            "{card}"
        );
        assert_eq!(files.len(), 5);
    }

    #[test]
    fn what_is_given_back() {
        let card = back_to_dhcp("eth0");
        assert!(card.starts_with("[Match]\nName=eth0\n") && card.contains("DHCP=ipv4\n"), "{card}");
        assert!(card.contains("KeepConfiguration=no\n\n[DHCPv4]\n"), "{card}");
        let vlan = "[Match]\nName=eth0.7\n\n[Link]\nActivationPolicy=down\nRequiredForOnline=no\n\n[Network]\nDHCP=no\n\
                    IPv6AcceptRA=no\nLinkLocalAddressing=no\nKeepConfiguration=no\n";
        assert_eq!(unused("eth0.7"), vlan);
    }
}
