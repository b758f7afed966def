//! Messages of the kernel's `wireguard` netlink family: built, split and read, without any I/O.

use std::time::Duration;

use meadow_model::Timestamp;
use meadow_model::mesh::WireGuardKey;
use netlink_packet_core::Emitable;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags, WireguardTimeSpec,
};

use super::Device;
use crate::Cidr;
use crate::wireguard::diff::PeerChange;
use crate::wireguard::{PeerStatus, PrivateKey};

/// Most bytes of peers in one message. The kernel takes what fits a socket buffer; one page is always safe.
const MAX_PEER_BYTES: usize = 3072;
/// Most networks of one peer in one message: 40 bytes each, so that a single peer never fills more than a message.
const MAX_NETWORKS: usize = 64;

/// The messages that carry out `changes`, and set key and port where they are given. None where nothing changes.
pub(super) fn set_device(
    interface: &str,
    key: Option<&PrivateKey>,
    port: Option<u16>,
    changes: &[PeerChange],
) -> Vec<WireguardMessage> {
    let mut first = Vec::new();
    first.extend(key.map(|key| WireguardAttribute::PrivateKey(*key.expose())));
    first.extend(port.map(WireguardAttribute::ListenPort));
    let mut messages = Vec::new();
    if !first.is_empty() {
        messages.push(message(interface, first));
    }
    for group in groups(changes.iter().flat_map(peer_parts)) {
        messages.push(message(interface, vec![WireguardAttribute::Peers(group)]));
    }
    messages
}

fn message(interface: &str, rest: Vec<WireguardAttribute>) -> WireguardMessage {
    let mut attributes = vec![WireguardAttribute::IfName(interface.to_owned())];
    attributes.extend(rest);
    WireguardMessage { cmd: WireguardCmd::SetDevice, attributes }
}

/// Puts parts together, in order, as long as they fit one message.
fn groups(parts: impl Iterator<Item = WireguardPeer>) -> Vec<Vec<WireguardPeer>> {
    let mut groups: Vec<Vec<WireguardPeer>> = Vec::new();
    let mut size = 0;
    for part in parts {
        let length = part.buffer_len();
        match groups.last_mut() {
            Some(group) if size + length <= MAX_PEER_BYTES => {
                group.push(part);
                size += length;
            }
            _ => {
                groups.push(vec![part]);
                size = length;
            }
        }
    }
    groups
}

/// One change as one or more parts: a peer with very many networks is told in several.
fn peer_parts(change: &PeerChange) -> Vec<WireguardPeer> {
    use WireguardPeerAttribute as Attribute;
    let (key, create, endpoint, keepalive, allowed_ips) = match change {
        PeerChange::Remove(key) => {
            let flags = WireguardPeerFlags::RemoveMe | WireguardPeerFlags::UpdateOnly;
            return vec![WireguardPeer(vec![Attribute::PublicKey(key.0), Attribute::Flags(flags)])];
        }
        PeerChange::Set { key, create, endpoint, keepalive, allowed_ips } => {
            (key, *create, endpoint, keepalive, allowed_ips)
        }
    };
    let mut flags = WireguardPeerFlags::empty();
    flags.set(WireguardPeerFlags::UpdateOnly, !create);
    flags.set(WireguardPeerFlags::ReplaceAllowedIps, allowed_ips.is_some());
    let mut networks = allowed_ips.as_deref().unwrap_or_default().chunks(MAX_NETWORKS);
    let mut first = vec![Attribute::PublicKey(key.0), Attribute::Flags(flags)];
    first.extend(endpoint.map(Attribute::Endpoint));
    first.extend(keepalive.map(Attribute::PersistentKeepalive));
    first.extend(networks.next().map(allowed_attribute));
    let rest = networks.map(|chunk| {
        let flags = Attribute::Flags(WireguardPeerFlags::UpdateOnly);
        WireguardPeer(vec![Attribute::PublicKey(key.0), flags, allowed_attribute(chunk)])
    });
    std::iter::once(WireguardPeer(first)).chain(rest).collect()
}

fn allowed_attribute(networks: &[Cidr]) -> WireguardPeerAttribute {
    let allowed = networks.iter().map(|network| {
        let v4 = network.address().is_ipv4();
        WireguardAllowedIp(vec![
            WireguardAllowedIpAttr::Family(if v4 {
                WireguardAddressFamily::Ipv4
            } else {
                WireguardAddressFamily::Ipv6
            }),
            WireguardAllowedIpAttr::IpAddr(network.address()),
            WireguardAllowedIpAttr::Cidr(network.length()),
        ])
    });
    WireguardPeerAttribute::AllowedIps(allowed.collect())
}

/// The device that the answers of a dump describe; `now` is the wall clock, which the kernel tells handshakes in.
pub(super) fn parse_device(answers: Vec<WireguardMessage>, now: Timestamp) -> Device {
    let mut device = Device::default();
    for attribute in answers.into_iter().flat_map(|message| message.attributes) {
        match attribute {
            WireguardAttribute::PublicKey(key) => device.key = Some(WireGuardKey(key)),
            WireguardAttribute::ListenPort(port) => device.listen_port = port,
            WireguardAttribute::Peers(peers) => {
                for peer in &peers {
                    merge(&mut device.peers, peer, now);
                }
            }
            _ => {}
        }
    }
    for peer in &mut device.peers {
        peer.allowed_ips.sort_unstable();
    }
    device
}

/// Adds a peer, or the rest of the networks of the one before: a dump is cut where a message is full.
fn merge(peers: &mut Vec<PeerStatus>, attributes: &[WireguardPeerAttribute], now: Timestamp) {
    use WireguardPeerAttribute as Attribute;
    let Some(key) = attributes.iter().find_map(|attribute| match attribute {
        Attribute::PublicKey(key) => Some(WireGuardKey(*key)),
        _ => None,
    }) else {
        return;
    };
    let index = peers.iter().position(|peer| peer.key == key).unwrap_or_else(|| {
        peers.push(unknown(key));
        peers.len() - 1
    });
    let peer = &mut peers[index];
    for attribute in attributes {
        match attribute {
            Attribute::Endpoint(endpoint) => peer.endpoint = Some(*endpoint),
            Attribute::PersistentKeepalive(seconds) => peer.keepalive = Some(*seconds).filter(|s| *s != 0),
            Attribute::LastHandshake(time) => peer.last_handshake = age(*time, now),
            Attribute::RxBytes(bytes) => peer.rx_bytes = *bytes,
            Attribute::TxBytes(bytes) => peer.tx_bytes = *bytes,
            Attribute::AllowedIps(networks) => peer.allowed_ips.extend(networks.iter().filter_map(network)),
            _ => {}
        }
    }
}

fn unknown(key: WireGuardKey) -> PeerStatus {
    PeerStatus {
        key,
        endpoint: None,
        keepalive: None,
        allowed_ips: Vec::new(),
        last_handshake: None,
        rx_bytes: 0,
        tx_bytes: 0,
    }
}

/// The kernel says zero for "never".
fn age(time: WireguardTimeSpec, now: Timestamp) -> Option<Duration> {
    if time.seconds == 0 && time.nano_seconds == 0 {
        return None;
    }
    let millis = time.seconds.saturating_mul(1000).saturating_add(time.nano_seconds / 1_000_000);
    Some(Duration::from_millis(now.millis_since(Timestamp::from_millis(millis))))
}

fn network(allowed: &WireguardAllowedIp) -> Option<Cidr> {
    let address = allowed.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::IpAddr(address) => Some(*address),
        _ => None,
    })?;
    let length = allowed.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::Cidr(length) => Some(*length),
        _ => None,
    })?;
    Cidr::new(address, length).ok()
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::ParseableParametrized;
    use netlink_packet_generic::GenlHeader;

    use super::*;

    fn networks(count: u16) -> Vec<Cidr> {
        (0..count).map(|n| Cidr::host(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n).into())).collect()
    }

    fn change(key: u8, count: u16) -> PeerChange {
        PeerChange::Set {
            key: WireGuardKey([key; 32]),
            create: true,
            endpoint: Some("192.0.2.1:51820".parse().expect("valid")),
            keepalive: Some(25),
            allowed_ips: Some(networks(count)),
        }
    }

    /// Through bytes and back, as it would go to the kernel.
    fn on_the_wire(message: &WireguardMessage) -> WireguardMessage {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        WireguardMessage::parse_with_param(&bytes, GenlHeader { cmd: 1, version: 1 }).expect("parses")
    }

    #[test]
    fn nothing_to_change_is_no_message() {
        assert_eq!(set_device("meadow0", None, None, &[]), vec![]);
    }

    #[test]
    fn many_peers_and_networks_are_split_and_none_is_lost() {
        let changes: Vec<_> = (1..=40).map(|key| change(key, u16::from(key) * 5)).collect();
        let messages: Vec<_> = set_device("meadow0", None, Some(1), &changes).iter().map(on_the_wire).collect();
        assert!(messages.len() > 2);
        for message in &messages {
            assert!(message.buffer_len() < 4096, "{} bytes", message.buffer_len());
        }
        let device = parse_device(messages, Timestamp::from_millis(0));
        assert_eq!(device.listen_port, 1);
        assert_eq!(device.peers.len(), 40);
        for (peer, key) in device.peers.iter().zip(1..) {
            assert_eq!(peer.key, WireGuardKey([key; 32]));
            assert_eq!(peer.allowed_ips, networks(u16::from(key) * 5));
            assert_eq!(peer.keepalive, Some(25));
        }
    }

    #[test]
    fn only_the_first_part_of_a_peer_replaces_its_networks() {
        let parts = peer_parts(&change(1, 200));
        let flags: Vec<_> = parts
            .iter()
            .flat_map(|part| part.iter())
            .filter_map(|attribute| match attribute {
                WireguardPeerAttribute::Flags(flags) => Some(*flags),
                _ => None,
            })
            .collect();
        assert_eq!(flags[0], WireguardPeerFlags::ReplaceAllowedIps);
        assert!(flags.len() > 1 && flags[1..].iter().all(|flags| *flags == WireguardPeerFlags::UpdateOnly));
    }

    #[test]
    fn a_handshake_is_told_by_its_age() {
        let now = Timestamp::from_millis(100_000);
        let time = |seconds, nano_seconds| WireguardTimeSpec { seconds, nano_seconds };
        assert_eq!(age(time(0, 0), now), None);
        assert_eq!(age(time(90, 500_000_000), now), Some(Duration::from_millis(9_500)));
        assert_eq!(age(time(200, 0), now), Some(Duration::ZERO));
    }
}
