//! The network of a seed, as a person writes it: `[CARD[.VLAN]=]dhcp|ADDRESS/LENGTH[,ROUTER]`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::MacAddress;

const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;
/// `IFNAMSIZ` of the kernel without its zero byte.
const LONGEST_NAME: usize = 15;

/// One network that a card is in. A card that is named here does what is written here, and else asks DHCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedNetwork {
    /// The card.
    pub card: CardChoice,
    /// VLAN identifier, 1 to 4094, where the port is tagged.
    pub vlan: Option<u16>,
    /// Address and prefix length, such as `192.0.2.7/24`; `None`: DHCP.
    pub address: Option<String>,
    /// The router.
    pub gateway: Option<IpAddr>,
}

/// Which card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardChoice {
    /// Every wired one.
    #[default]
    Any,
    /// The one with this hardware address.
    Mac(MacAddress),
    /// The one with this name, which is the kernel's.
    Name(String),
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no network; write CARD=dhcp or CARD=192.0.2.7/24,192.0.2.1, where CARD is a MAC address or a name such as \
     eth0, with .VLAN behind it where the port is tagged"
)]
pub struct InvalidNetwork(String);

impl FromStr for SeedNetwork {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.chars().take(80).collect());
        let (card, rest) = text.split_once('=').map_or((None, text), |(card, rest)| (Some(card), rest));
        let (card, vlan) = match card {
            Some(card) => parse_card(card).ok_or_else(invalid)?,
            None => (CardChoice::Any, None),
        };
        if rest == "dhcp" {
            return Ok(Self { card, vlan, address: None, gateway: None });
        }
        let (address, gateway) = rest.split_once(',').map_or((rest, None), |(address, router)| (address, Some(router)));
        let own = parse_address(address).ok_or_else(invalid)?;
        let gateway: Option<IpAddr> = gateway.map(str::parse).transpose().map_err(|_| invalid())?;
        if gateway.is_some_and(|router| router.is_ipv4() != own.is_ipv4()) {
            return Err(invalid());
        }
        Ok(Self { card, vlan, address: Some(address.to_owned()), gateway })
    }
}

fn parse_card(text: &str) -> Option<(CardChoice, Option<u16>)> {
    let (card, vlan) = match text.rsplit_once('.') {
        Some((card, vlan)) => (card, Some(vlan.parse().ok().filter(|vlan| VLANS.contains(vlan))?)),
        None => (text, None),
    };
    if card.is_empty() || card == "*" {
        return Some((CardChoice::Any, vlan));
    }
    if let Ok(mac) = card.parse::<MacAddress>() {
        return mac.is_unicast().then_some((CardChoice::Mac(mac), vlan));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (card.len() <= LONGEST_NAME && card.chars().all(plain)).then(|| (CardChoice::Name(card.to_owned()), vlan))
}

fn parse_address(text: &str) -> Option<IpAddr> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    ((1..=longest).contains(&length) && !address.is_unspecified() && !address.is_multicast()).then_some(address)
}

impl fmt::Display for SeedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.card {
            CardChoice::Any => f.write_str("*")?,
            CardChoice::Mac(mac) => write!(f, "{mac}")?,
            CardChoice::Name(name) => f.write_str(name)?,
        }
        if let Some(vlan) = self.vlan {
            write!(f, ".{vlan}")?;
        }
        write!(f, "={}", self.address.as_deref().unwrap_or("dhcp"))?;
        self.gateway.map_or(Ok(()), |router| write!(f, ",{router}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write() {
        for (text, shown) in [
            ("dhcp", "*=dhcp"),
            ("192.0.2.7/24", "*=192.0.2.7/24"),
            ("eth0=192.0.2.7/24,192.0.2.1", "eth0=192.0.2.7/24,192.0.2.1"),
            ("52:54:00:00:00:01.7=dhcp", "52:54:00:00:00:01.7=dhcp"),
            ("enp1s0=2001:db8::7/64,fe80::1", "enp1s0=2001:db8::7/64,fe80::1"),
            ("*.12=192.0.2.7/24", "*.12=192.0.2.7/24"),
        ] {
            let network: SeedNetwork = text.parse().expect(text);
            assert_eq!(network.to_string(), shown);
            assert_eq!(shown.parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_no_network() {
        for text in [
            "",
            "eth0",
            "eth0=",
            "eth0=192.0.2.7",
            "eth0=192.0.2.7/33",
            "eth0=192.0.2.7/24,2001:db8::1",
            "eth0=192.0.2.7/24,",
            "eth0.0=dhcp",
            "eth0.4095=dhcp",
            "eth0.x=dhcp",
            "eth0/..=dhcp",
            "a-name-that-is-too-long=dhcp",
            "01:00:5e:00:00:01=dhcp",
            "eth0=0.0.0.0/8",
        ] {
            assert!(text.parse::<SeedNetwork>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_network_or_not(text in "[a-z0-9:./,=*-]{0,40}") {
            if let Ok(network) = text.parse::<SeedNetwork>() {
                prop_assert_eq!(network.to_string().parse(), Ok(network));
            }
        }
    }
}
