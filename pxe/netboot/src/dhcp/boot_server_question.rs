//! The question of a system that runs already: is there a Meadow boot server on this LAN?
//!
//! It has an address and wants no other one, so it bothers no DHCP server: it sends an INFORM to the port of PXE's boot
//! servers, on which a home router does not listen.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::borrowed::DhcpOptionIterator;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, OptionCode};
use dhcproto::{Encodable, Encoder};
use meadow_model::MacAddress;

use super::datagram::ServerPort;
use super::request::{HEADER, MAGIC, VendorClass};

/// Where the question goes.
pub const ASKED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, ServerPort::BootServer.number());

/// A question, and how its answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootServerQuestion {
    /// The card that is asked by, which names the machine.
    pub mac: MacAddress,
    /// Its address.
    pub address: Ipv4Addr,
    /// Any number that others do not have at the same time.
    pub xid: u32,
}

impl BootServerQuestion {
    /// The datagram for [`ASKED`]. `None` only if it cannot be encoded.
    #[must_use]
    pub fn datagram(&self) -> Option<Vec<u8>> {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(self.xid, self.address, none, none, none, &self.mac.0);
        message.set_flags(Flags::default());
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        message.encode(&mut encoder).ok()?;
        let options = [
            DhcpOption::MessageType(MessageType::Inform),
            DhcpOption::ClassIdentifier(VendorClass::Meadow.reply_value().to_vec()),
            DhcpOption::End,
        ];
        options.into_iter().try_for_each(|option| option.encode(&mut encoder)).ok()?;
        Some(bytes)
    }

    /// Host and port of the boot server whose answer this is; `None` if it is none to this question. Never panics.
    #[must_use]
    pub fn answer(&self, datagram: &[u8]) -> Option<SocketAddrV4> {
        let own = datagram.first() == Some(&2)
            && datagram.get(4..8)? == self.xid.to_be_bytes()
            && datagram.get(28..34)? == self.mac.0
            && datagram.get(236..HEADER)? == MAGIC;
        if !own {
            return None;
        }
        let (mut kind, mut from_meadow, mut url) = (None, false, None);
        for option in DhcpOptionIterator::new(&datagram[HEADER..]) {
            match (option.code(), option.data()) {
                (OptionCode::MessageType, &[value]) => kind = Some(value),
                (OptionCode::ClassIdentifier, data) => from_meadow = data == VendorClass::Meadow.reply_value(),
                (OptionCode::BootfileName, data) => url = Some(String::from_utf8(data.to_vec()).ok()?),
                _ => {}
            }
        }
        let url = url.filter(|_| from_meadow && kind == Some(5))?;
        url.trim_end_matches('\0').strip_prefix("http://")?.strip_suffix('/')?.parse().ok()
    }
}
