//! Builds a boot server's DHCP reply.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode};
use dhcproto::{Encodable, Encoder};

use super::request::{Request, VendorClass};
use crate::event::OfferForm;

/// Replies are never longer: what fits one Ethernet frame, with IP and UDP headers.
pub const MAX_REPLY: usize = 1472;

/// Replies are never shorter: BOOTP relays and old ROMs drop less (RFC 1542, 2.1).
const MIN_REPLY: usize = 300;

/// Longest value of one option, and so of a boot file with its NUL.
const MAX_OPTION: usize = 255;

/// The end mark of the options.
const END: u8 = 255;

/// Field `file` of the header, with its NUL.
const HEADER_FILE: usize = 128;

/// PXE discovery control (sub-option 6), bit 3: use the boot file in this offer, no menu, no prompt.
const DIRECT_BOOT: [u8; 4] = [6, 1, 8, 255];

/// What a reply says.
pub(super) struct Reply<'a> {
    pub(super) request: &'a Request,
    pub(super) kind: MessageType,
    pub(super) vendor: VendorClass,
    pub(super) server: Ipv4Addr,
    pub(super) file: &'a str,
    pub(super) form: OfferForm,
}

impl Reply<'_> {
    /// Encodes the reply up to its end mark, `None` if the boot file's name is too long for DHCP.
    ///
    /// The options' order is the usual one of DHCP servers, message type and server first, and
    /// there is no pad between options, since some boot ROMs stumble over either. Padding to the
    /// least size comes after the end mark.
    pub(super) fn body(&self) -> Option<Vec<u8>> {
        if self.file.len() >= MAX_OPTION {
            return None;
        }
        let mut message = Message::new_with_id(
            self.request.xid,
            self.request.ciaddr,
            Ipv4Addr::UNSPECIFIED,
            self.server,
            self.request.giaddr,
            &self.request.mac.0,
        );
        message.set_opcode(Opcode::BootReply).set_flags(Flags::from(self.request.flags));
        // A longer one is in option 67 only, which every client that can fetch a URL reads.
        if self.file.len() < HEADER_FILE && self.form != OfferForm::Initrd {
            message.set_fname_str(self.file);
        }
        let mut bytes = Vec::with_capacity(MIN_REPLY);
        let mut encoder = Encoder::new(&mut bytes);
        message.encode(&mut encoder).ok()?;
        for option in self.options() {
            option.encode(&mut encoder).ok()?;
        }
        Some(bytes)
    }

    fn options(&self) -> Vec<DhcpOption> {
        let mut options = vec![
            DhcpOption::MessageType(self.kind),
            DhcpOption::ServerIdentifier(self.server),
            DhcpOption::ClassIdentifier(self.vendor.reply_value().to_vec()),
        ];
        if self.vendor == VendorClass::Pxe {
            options.push(DhcpOption::TFTPServerName(self.server.to_string().into_bytes()));
        }
        let mut file = self.file.as_bytes().to_vec();
        if self.vendor != VendorClass::Meadow {
            // EDK2 writes a NUL behind the value, over whatever follows: give it one of its own.
            file.push(0);
        }
        options.push(DhcpOption::BootfileName(file));
        if let Some(id) = &self.request.machine_id {
            options.push(DhcpOption::ClientMachineIdentifier(id.clone()));
        }
        if self.form == OfferForm::Direct {
            options.push(DhcpOption::VendorExtensions(DIRECT_BOOT.to_vec()));
        }
        options
    }
}

/// Makes a relay broadcast the reply.
pub(super) fn set_broadcast(bytes: &mut [u8]) {
    if let Some(flags) = bytes.get_mut(10) {
        *flags |= 0x80;
    }
}

/// Ends a reply; `None` if it is too long.
pub(super) fn finish(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    bytes.push(END);
    if bytes.len() < MIN_REPLY {
        bytes.resize(MIN_REPLY, 0);
    }
    (bytes.len() <= MAX_REPLY).then_some(bytes)
}
