//! Builds a DHCP server's reply.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, UnknownOption};
use dhcproto::{Encodable, Encoder};

use super::lease_request::LeaseRequest;
use super::relay_info;
use super::reply::{MAX_REPLY, finish};
use super::subnet::Subnet;

/// IP and UDP headers, which option 57 counts.
const IP_UDP: usize = 28;
/// The broadcast flag.
const BROADCAST: u16 = 0x8000;

/// What a reply says.
pub(super) struct LeaseReply<'a> {
    pub(super) request: &'a LeaseRequest,
    pub(super) kind: MessageType,
    pub(super) server: Ipv4Addr,
    /// The client's address; unspecified in answers to INFORM and in refusals.
    pub(super) address: Ipv4Addr,
    /// Subnet whose options are sent, `None` in refusals.
    pub(super) subnet: Option<&'a Subnet>,
    /// The boot server's part, up to its end mark.
    pub(super) boot: Option<Vec<u8>>,
}

impl LeaseReply<'_> {
    /// Encodes the reply. Options that the client has no room for are left out, the least needed first.
    pub(super) fn encode(mut self) -> Option<Vec<u8>> {
        let request = self.request;
        let mut bytes = match self.boot.take() {
            Some(boot) => boot,
            None => self.header()?,
        };
        bytes.get_mut(16..20)?.copy_from_slice(&self.address.octets());
        // Both are always sent.
        let mut tail = Vec::new();
        if let Some(id) = request.client_id.clone() {
            DhcpOption::ClientIdentifier(id).encode(&mut Encoder::new(&mut tail)).ok()?;
        }
        relay_info::echo(request.relay_info.as_deref(), &mut tail);
        let limit = (request.max_size - IP_UDP).min(MAX_REPLY).saturating_sub(tail.len() + 1);
        for option in self.options() {
            let mut encoded = Vec::new();
            option.encode(&mut Encoder::new(&mut encoded)).ok()?;
            if bytes.len() + encoded.len() <= limit {
                bytes.extend_from_slice(&encoded);
            }
        }
        bytes.extend_from_slice(&tail);
        finish(bytes)
    }

    fn header(&self) -> Option<Vec<u8>> {
        let request = self.request;
        let unspecified = Ipv4Addr::UNSPECIFIED;
        let ciaddr = if self.kind == MessageType::Ack { request.ciaddr } else { unspecified };
        let mut message =
            Message::new_with_id(request.xid, ciaddr, unspecified, unspecified, request.giaddr, &request.mac.0);
        // A relay must not send a refusal to an address that the client may not use (RFC 2131, 4.3.2).
        let relayed_refusal = self.kind == MessageType::Nak && !request.giaddr.is_unspecified();
        let flags = if relayed_refusal { request.flags | BROADCAST } else { request.flags };
        message.set_opcode(Opcode::BootReply).set_flags(Flags::from(flags));
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        message.encode(&mut encoder).ok()?;
        for option in [DhcpOption::MessageType(self.kind), DhcpOption::ServerIdentifier(self.server)] {
            option.encode(&mut encoder).ok()?;
        }
        Some(bytes)
    }

    fn options(&self) -> Vec<DhcpOption> {
        let Some(subnet) = self.subnet else { return Vec::new() };
        let config = &subnet.config;
        let mut options = Vec::new();
        if !self.address.is_unspecified() {
            options.push(DhcpOption::AddressLeaseTime(config.lease_seconds));
            options.push(DhcpOption::Renewal(subnet.renew));
            options.push(DhcpOption::Rebinding(subnet.rebind));
        }
        options.push(DhcpOption::SubnetMask(subnet.netmask()));
        if !config.router.is_empty() {
            options.push(DhcpOption::Router(config.router.clone()));
        }
        if !config.dns.is_empty() {
            options.push(DhcpOption::DomainNameServer(config.dns.clone()));
        }
        if let Some(domain) = config.domain.as_ref().filter(|domain| !domain.is_empty()) {
            options.push(unknown(15, domain.as_bytes().to_vec()));
        }
        if !config.ntp.is_empty() {
            options.push(DhcpOption::NtpServers(config.ntp.clone()));
        }
        options.extend(subnet.options.iter().map(|(code, value)| unknown(*code, value.clone())));
        options
    }
}

fn unknown(code: u8, value: Vec<u8>) -> DhcpOption {
    DhcpOption::Unknown(UnknownOption::new(code.into(), value))
}
