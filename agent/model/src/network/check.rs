//! What a person asks for, checked field by field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{CardId, CardNetwork, NetworkWish};
use crate::MacAddress;
use crate::problem::FieldError;

const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;
/// Networks in one change; no computer has more ports and VLANs that a person types.
const MOST: usize = 32;
/// A resolver asks no more.
const MOST_SERVERS: usize = 3;

/// Checks `wishes` against the cards that are there.
///
/// # Errors
/// What is wrong, field by field.
pub fn resolve(wishes: &[NetworkWish], cards: &[CardId]) -> Result<Vec<CardNetwork>, Vec<FieldError>> {
    let mut errors = Errors(Vec::new());
    if wishes.is_empty() || wishes.len() > MOST {
        errors.add("networks", format!("name 1 to {MOST} networks"));
        return Err(errors.0);
    }
    let mut found: Vec<CardNetwork> = Vec::new();
    for (index, wish) in wishes.iter().enumerate() {
        let field = |name: &str| format!("networks/{index}/{name}");
        let Some(card) = find(&wish.card, cards) else {
            errors.add(
                &field("card"),
                format!("there is no network card \"{}\"; there are: {}", shown(&wish.card), names(cards)),
            );
            continue;
        };
        if wish.vlan.is_some_and(|vlan| !VLANS.contains(&vlan)) {
            errors.add(&field("vlan"), "VLANs are numbered 1 to 4094".to_owned());
        }
        if found.iter().any(|other| other.card == *card && other.vlan == wish.vlan) {
            errors.add(&field("card"), format!("{} is named twice; give it one network for each VLAN", card.name));
        }
        check_addresses(wish, &field, &mut errors);
        let address = wish.address.as_ref().map(|text| text.trim().to_owned());
        let taken = found.iter().find(|other| address.is_some() && host(&other.address) == host(&address));
        if let Some(other) = taken {
            errors.add(&field("address"), format!("{} has this address already", other.card.name));
        }
        found.push(CardNetwork {
            card: card.clone(),
            vlan: wish.vlan,
            address,
            gateway: wish.gateway,
            dns: wish.dns.clone(),
        });
    }
    if errors.0.is_empty() { Ok(found) } else { Err(errors.0) }
}

struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, field: &str, message: String) {
        self.0.push(FieldError { field: format!("/{field}"), message });
    }
}

fn find<'c>(text: &str, cards: &'c [CardId]) -> Option<&'c CardId> {
    let mac = text.parse::<MacAddress>().ok();
    cards.iter().find(|card| card.name == text || Some(card.mac) == mac)
}

fn names(cards: &[CardId]) -> String {
    let names: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A text of a request as it may stand in an answer.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn host(address: &Option<String>) -> Option<&str> {
    Some(address.as_deref()?.split_once('/')?.0)
}

fn check_addresses(wish: &NetworkWish, field: &dyn Fn(&str) -> String, errors: &mut Errors) {
    let network = match &wish.address {
        Some(text) => match Network::parse(text.trim()) {
            Ok(network) => Some(network),
            Err(why) => {
                errors.add(&field("address"), why);
                None
            }
        },
        None => None,
    };
    match (wish.gateway, &network) {
        (Some(_), None) if wish.address.is_none() => {
            errors.add(&field("gateway"), "DHCP tells the router; leave it out, or give an address".to_owned());
        }
        (Some(gateway), Some(network)) => {
            if let Err(why) = network.takes_gateway(gateway) {
                errors.add(&field("gateway"), why);
            }
        }
        _ => {}
    }
    if wish.dns.len() > MOST_SERVERS {
        errors.add(&field("dns"), format!("at most {MOST_SERVERS} DNS servers are asked"));
    }
    for server in &wish.dns {
        if !is_host(*server) || server.is_loopback() {
            errors.add(&field("dns"), format!("{server} cannot be a DNS server"));
        }
    }
}

/// Whether one computer can have it.
fn is_host(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

/// An address with its network.
struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("\"{}\" is no address with a prefix length, such as 192.0.2.7/24", shown(text));
        let (address, length) = text.split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        // `parse` would take a sign too.
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 =
            length.parse().ok().filter(|length| digits && (1..=longest).contains(length)).ok_or_else(form)?;
        if !is_host(address) || address.is_loopback() {
            return Err(format!("{address} cannot be the address of a computer"));
        }
        let network = Self { address, length };
        match network.special(address) {
            Some(what) => Err(format!("{address} is the {what} of {address}/{length}; take one of its hosts")),
            None => Ok(network),
        }
    }

    /// What an address of this network is that no computer may have.
    fn special(&self, address: IpAddr) -> Option<&'static str> {
        let IpAddr::V4(address) = address else { return None };
        if self.length >= 31 {
            return None;
        }
        let hosts = u32::MAX >> self.length;
        match address.to_bits() & hosts {
            0 => Some("network address"),
            all if all == hosts => Some("broadcast address"),
            _ => None,
        }
    }

    fn contains(&self, other: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let same_kind = other.is_ipv4() == self.address.is_ipv4();
        same_kind && (bits(other) ^ bits(self.address)) >> (128 - u32::from(self.length)) == 0
    }

    fn takes_gateway(&self, gateway: IpAddr) -> Result<(), String> {
        let link_local = matches!(gateway, IpAddr::V6(v6) if Ipv6Addr::is_unicast_link_local(&v6));
        let (address, length) = (self.address, self.length);
        if gateway == address {
            return Err(format!("{gateway} is the address of this computer itself"));
        }
        if self.address.is_ipv6() && link_local {
            return Ok(());
        }
        if !self.contains(gateway) {
            return Err(format!("{gateway} is not in the network of {address}/{length}, so it cannot be reached"));
        }
        match self.special(gateway) {
            Some(what) => Err(format!("{gateway} is the {what} of {address}/{length}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cards() -> Vec<CardId> {
        [("eth0", 1), ("eth1", 2)]
            .map(|(name, last)| CardId { name: name.to_owned(), mac: MacAddress([0x52, 0x54, 0, 0, 0, last]) })
            .into()
    }

    fn wish(card: &str, vlan: Option<u16>, address: &str, gateway: &str) -> NetworkWish {
        NetworkWish {
            card: card.to_owned(),
            vlan,
            address: (!address.is_empty()).then(|| address.to_owned()),
            gateway: gateway.parse().ok(),
            dns: Vec::new(),
        }
    }

    fn fields(wishes: &[NetworkWish]) -> Vec<String> {
        resolve(wishes, &cards()).err().unwrap_or_default().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn what_works() {
        for wishes in [
            vec![wish("eth0", None, "", "")],
            vec![wish("52:54:00:00:00:02", None, "192.0.2.7/24", "192.0.2.1")],
            vec![wish("eth0", None, "192.0.2.7/31", "192.0.2.6")],
            vec![wish("eth0", None, "2001:db8::7/64", "fe80::1"), wish("eth0", Some(7), "", "")],
            vec![wish("eth0", Some(1), "10.0.0.1/8", ""), wish("eth1", Some(4094), "10.0.0.2/8", "")],
        ] {
            assert_eq!(fields(&wishes), Vec::<String>::new(), "{wishes:?}");
        }
    }

    #[test]
    fn each_mistake_is_told_at_its_field() {
        for (wish, field) in [
            (wish("eth9", None, "", ""), "card"),
            (wish("eth0", Some(0), "", ""), "vlan"),
            (wish("eth0", Some(4095), "", ""), "vlan"),
            (wish("eth0", None, "192.0.2.7", ""), "address"),
            (wish("eth0", None, "192.0.2.7/33", ""), "address"),
            (wish("eth0", None, "192.0.2.7/+4", ""), "address"),
            (wish("eth0", None, "192.0.2.0/24", ""), "address"),
            (wish("eth0", None, "192.0.2.255/24", ""), "address"),
            (wish("eth0", None, "224.0.0.1/24", ""), "address"),
            (wish("eth0", None, "127.0.0.1/8", ""), "address"),
            (wish("eth0", None, "192.0.2.7/24", "198.51.100.1"), "gateway"),
            (wish("eth0", None, "192.0.2.7/24", "2001:db8::1"), "gateway"),
            (wish("eth0", None, "192.0.2.7/24", "192.0.2.7"), "gateway"),
            (wish("eth0", None, "192.0.2.7/24", "192.0.2.255"), "gateway"),
            (wish("eth0", None, "", "192.0.2.1"), "gateway"),
        ] {
            assert_eq!(fields(std::slice::from_ref(&wish)), [format!("/networks/0/{field}")], "{wish:?}");
        }
        let twice = [wish("eth0", None, "", ""), wish("52:54:00:00:00:01", None, "192.0.2.7/24", "")];
        assert_eq!(fields(&twice), ["/networks/1/card"]);
        let same = [wish("eth0", None, "192.0.2.7/24", ""), wish("eth1", None, "192.0.2.7/25", "")];
        assert_eq!(fields(&same), ["/networks/1/address"]);
        let mut dns = wish("eth0", None, "", "");
        dns.dns = vec!["0.0.0.0".parse().expect("an address")];
        assert_eq!(fields(&[dns]), ["/networks/0/dns"]);
        assert_eq!(fields(&[]), ["/networks"]);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_and_what_is_taken_is_a_host(address in "[0-9a-f:./]{0,24}", gateway: [u8; 4]) {
            let mut asked = wish("eth0", None, &address, "");
            asked.gateway = Some(IpAddr::from(gateway));
            if let Ok(found) = resolve(&[asked], &cards()) {
                let network = Network::parse(found[0].address.as_deref().expect("set")).expect("parsed");
                prop_assert!(network.contains(IpAddr::from(gateway)) && network.address != IpAddr::from(gateway));
            }
        }

        #[test]
        fn records_say_the_same(vlan in proptest::option::of(1_u16..4095), host in 1_u8..255, fixed: bool) {
            let address = if fixed { format!("192.0.2.{host}/24") } else { String::new() };
            if let Ok(found) = resolve(&[wish("eth1", vlan, &address, "")], &cards()) {
                let records: Vec<_> = found.iter().map(CardNetwork::record).collect();
                prop_assert_eq!(CardNetwork::of_records(&records, &cards()), found);
            }
        }
    }
}
