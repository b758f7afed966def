//! What cards are told: fixed addresses for networks without DHCP, and VLANs. From the node's record or a stick's seed,
//! for PID 1 and for the booted system.

use std::net::IpAddr;

use meadow_networkd::Present;

use crate::dhcp::{Mac, format_mac};
use crate::seed;
use crate::state;

const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;
const LONGEST_PREFIX: (u8, u8) = (32, 128);
/// In place of an address.
const DHCP: &str = "dhcp";

/// A network that a card is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedNetwork {
    /// The card with this hardware address; `None`: any, unless a name is given.
    pub mac: Option<Mac>,
    /// The card with this name.
    pub name: Option<String>,
    /// VLAN identifier, where the port is tagged.
    pub vlan: Option<u16>,
    /// The address; `None`: DHCP.
    pub address: Option<FixedAddress>,
    /// DNS servers, for the booted system.
    pub dns: Vec<IpAddr>,
}

/// An address of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of the network prefix in bits.
    pub prefix_len: u8,
    /// The router.
    pub gateway: Option<IpAddr>,
}

impl FixedAddress {
    fn parse(text: &str, gateway: Option<IpAddr>) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no address with a prefix length, such as 192.0.2.7/24");
        let (address, prefix_len) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix_len: u8 = prefix_len.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { LONGEST_PREFIX.0 } else { LONGEST_PREFIX.1 };
        if prefix_len == 0 || prefix_len > longest || address.is_unspecified() || address.is_multicast() {
            return Err(wrong());
        }
        if let Some(gateway) = gateway
            && gateway.is_ipv4() != address.is_ipv4()
        {
            return Err(format!("the router {gateway} and the address {text} are of different kinds"));
        }
        Ok(Self { address, prefix_len, gateway })
    }

    /// Address and prefix length.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}/{}", self.address, self.prefix_len)
    }
}

impl FixedNetwork {
    /// Checks what a node's record says.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(network: &state::Network) -> Result<Self, String> {
        let mac = network.mac.as_deref().map(parse_mac).transpose()?;
        let address = match network.address.as_str() {
            DHCP => None,
            text => Some(FixedAddress::parse(text, network.gateway)?),
        };
        Self { mac, name: None, vlan: network.vlan, address, dns: network.dns.clone() }.checked()
    }

    /// Checks what a stick's seed says.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn of_seed(network: &seed::Network) -> Result<Self, String> {
        let (mac, name) = match &network.card {
            seed::Card::Any => (None, None),
            seed::Card::Mac(text) => (Some(parse_mac(text)?), None),
            seed::Card::Name(name) => (None, Some(name.clone())),
        };
        let address = network.address.as_deref().map(|text| FixedAddress::parse(text, network.gateway)).transpose()?;
        Self { mac, name, vlan: network.vlan, address, dns: Vec::new() }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if let Some(vlan) = self.vlan
            && !VLANS.contains(&vlan)
        {
            return Err(format!("{vlan} is no VLAN; they are numbered 1 to 4094"));
        }
        Ok(self)
    }

    /// Whether it is for this card.
    #[must_use]
    pub fn is_for(&self, name: &str, mac: Mac) -> bool {
        self.mac.is_none_or(|wanted| wanted == mac) && self.name.as_deref().is_none_or(|wanted| wanted == name)
    }

    /// Address and prefix length, or that it asks DHCP.
    #[must_use]
    pub fn text(&self) -> String {
        self.address.map_or_else(|| DHCP.to_owned(), |address| address.text())
    }

    fn told(&self) -> meadow_networkd::Network {
        meadow_networkd::Network {
            vlan: self.vlan,
            address: self.address.map(|address| address.text()),
            gateway: self.address.and_then(|address| address.gateway),
            dns: self.dns.clone(),
        }
    }

    /// Whether the card itself goes on asking DHCP.
    #[must_use]
    pub fn is_plain_dhcp(&self) -> bool {
        self.vlan.is_none() && self.address.is_none()
    }
}

fn parse_mac(text: &str) -> Result<Mac, String> {
    super::facts::parse_mac(text).ok_or_else(|| format!("\"{text}\" is no MAC address"))
}

/// A card and its addresses.
pub type FixedCard = (String, Mac, Vec<FixedNetwork>);

/// What systemd-networkd has to know, so that it goes on with these addresses: names of files and their text.
#[must_use]
pub fn networkd_files(cards: &[FixedCard]) -> Vec<(String, String)> {
    let of_card = |(card, mac, networks): &FixedCard| {
        let told: Vec<meadow_networkd::Network> = networks.iter().map(FixedNetwork::told).collect();
        meadow_networkd::files(card, &format_mac(*mac, ":"), &told, Present::Keep)
    };
    cards.iter().flat_map(of_card).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = [0x52, 0x54, 0, 0, 0, 1];

    fn network(address: &str, gateway: Option<&str>, vlan: Option<u16>) -> state::Network {
        let gateway = gateway.map(|text| text.parse().unwrap());
        let mac = Some("52:54:00:00:00:01".to_owned());
        state::Network { mac, vlan, address: address.to_owned(), gateway, dns: Vec::new() }
    }

    #[test]
    fn sound_and_odd_records() {
        let fixed = FixedNetwork::parse(&network("192.0.2.7/24", Some("192.0.2.1"), Some(7))).unwrap();
        assert!(fixed.is_for("eth0", MAC) && !fixed.is_for("eth0", [0; 6]));
        assert_eq!((fixed.address.unwrap().text().as_str(), fixed.vlan), ("192.0.2.7/24", Some(7)));
        assert!(FixedNetwork::parse(&network("2001:db8::7/64", Some("fe80::1"), None)).is_ok());
        for (address, gateway, vlan) in [
            ("192.0.2.7", None, None),
            ("192.0.2.7/33", None, None),
            ("192.0.2.7/0", None, None),
            ("0.0.0.0/8", None, None),
            ("192.0.2.7/24", Some("2001:db8::1"), None),
            ("192.0.2.7/24", None, Some(0)),
            ("192.0.2.7/24", None, Some(4095)),
            ("home/24", None, None),
        ] {
            assert!(FixedNetwork::parse(&network(address, gateway, vlan)).is_err(), "{address} {gateway:?} {vlan:?}");
        }
    }

    #[test]
    fn networkd_goes_on_with_card_and_vlan() {
        let plain = FixedNetwork::parse(&network("192.0.2.7/24", Some("192.0.2.1"), None)).unwrap();
        let tagged =
            state::Network { dns: vec!["192.0.2.53".parse().unwrap()], ..network("198.51.100.7/24", None, Some(7)) };
        let tagged = FixedNetwork::parse(&tagged).unwrap();
        let files = networkd_files(&[("eth0".to_owned(), MAC, vec![plain, tagged])]);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["05-meadow-eth0.network", "05-meadow-eth0.7.netdev", "05-meadow-eth0.7.network"]);
        let card = &files[0].1;
        assert!(card.contains("MACAddress=52:54:00:00:00:01\n") && card.contains("DHCP=no\n"), "{card}");
        assert!(card.contains("Address=192.0.2.7/24\nVLAN=eth0.7\n\n[Route]\nGateway=192.0.2.1\n"), "{card}");
        assert!(files[1].1.contains("Id=7\n"));
        assert!(
            files[2].1.contains("Name=eth0.7\n") && files[2].1.contains("Address=198.51.100.7/24\nDNS=192.0.2.53\n")
        );
        assert!(!files[2].1.contains("Gateway="));
    }

    #[test]
    fn a_record_may_say_dhcp() {
        let tagged = FixedNetwork::parse(&network("dhcp", None, Some(7))).unwrap();
        assert!(tagged.address.is_none() && !tagged.is_plain_dhcp());
    }

    #[test]
    fn a_seed_names_cards_and_asks_dhcp_on_a_vlan() {
        let network = |card, vlan, address: Option<&str>| {
            let address = address.map(str::to_owned);
            FixedNetwork::of_seed(&seed::Network { card, vlan, address, gateway: None }).unwrap()
        };
        let tagged = network(seed::Card::Name("eth0".to_owned()), Some(7), None);
        assert!(tagged.is_for("eth0", MAC) && !tagged.is_for("eth1", MAC) && !tagged.is_plain_dhcp());
        assert!(network(seed::Card::Any, None, None).is_plain_dhcp());
        let files = networkd_files(&[("eth0".to_owned(), MAC, vec![tagged])]);
        assert!(files[0].1.contains("DHCP=no\nIPv6") && files[0].1.contains("VLAN=eth0.7\n"), "{}", files[0].1);
        assert!(files[2].1.contains("DHCP=ipv4\n") && files[2].1.contains("ClientIdentifier=mac\n"), "{}", files[2].1);
        let odd = seed::Network { card: seed::Card::Mac("x".to_owned()), vlan: None, address: None, gateway: None };
        assert!(FixedNetwork::of_seed(&odd).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_not(text in "[0-9a-f.:/]{0,24}") {
            if let Ok(fixed) = FixedNetwork::parse(&network(&text, None, None)) {
                prop_assert!(fixed.address.unwrap().prefix_len > 0);
            }
        }
    }
}
