//! What servers send: a strict parser, since anybody on the wire can send anything.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Mac;
use super::request::{HEADER_LEN, MAGIC_COOKIE};

/// Nothing longer fits the network (RFC 2131 allows larger ones only where we ask for them).
const MAXIMUM_LEN: usize = 1500;

/// Which message of RFC 2131 came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK.
    Ack,
    /// DHCPNAK.
    Nak,
}

/// A server's message, with what the initramfs needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message type (option 53).
    pub kind: ReplyKind,
    /// Transaction id.
    pub xid: u32,
    /// The address for us; `0.0.0.0` in the offer of a proxy.
    pub yiaddr: Ipv4Addr,
    /// The client's hardware address, as echoed.
    pub mac: Mac,
    /// Server identifier (option 54).
    pub server: Option<Ipv4Addr>,
    /// Subnet mask (option 1) as prefix length.
    pub prefix_len: Option<u8>,
    /// First router (option 3).
    pub router: Option<Ipv4Addr>,
    /// Lease time in seconds (option 51).
    pub lease_secs: Option<u32>,
    /// T1 in seconds (option 58).
    pub renew_secs: Option<u32>,
    /// T2 in seconds (option 59).
    pub rebind_secs: Option<u32>,
    /// Vendor class (option 60).
    pub vendor_class: Option<Vec<u8>>,
    /// Boot file (option 67), without the NULs that some servers append.
    pub boot_file: Option<String>,
    /// The server's reason for a NAK (option 56).
    pub message: Option<String>,
}

/// Why bytes are not a reply for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Shorter than header and magic cookie, or longer than a packet.
    #[error("{0} bytes are not the size of a DHCP message")]
    Size(usize),
    /// A request, or not for Ethernet.
    #[error("not a BOOTREPLY for Ethernet")]
    Header,
    /// The magic cookie of RFC 2131 is missing.
    #[error("no DHCP magic cookie")]
    Cookie,
    /// An option runs over the end of its field.
    #[error("option {0} runs over the end")]
    Truncated(u8),
    /// An option has a length that its definition does not allow.
    #[error("option {0} has a wrong length or value")]
    Option(u8),
    /// Neither OFFER nor ACK nor NAK.
    #[error("not an OFFER, ACK or NAK")]
    Kind,
}

impl Reply {
    /// Parses the payload of a UDP datagram from port 67.
    ///
    /// # Errors
    /// Says what is malformed; such a packet is to be dropped.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReplyError> {
        if bytes.len() < HEADER_LEN + MAGIC_COOKIE.len() || bytes.len() > MAXIMUM_LEN {
            return Err(ReplyError::Size(bytes.len()));
        }
        if bytes[..3] != [2, 1, 6] {
            return Err(ReplyError::Header);
        }
        let (header, rest) = bytes.split_at(HEADER_LEN);
        let options = rest.strip_prefix(&MAGIC_COOKIE).ok_or(ReplyError::Cookie)?;
        let options = collect_options(header, options)?;

        let kind = match options.get(&53).map(Vec::as_slice) {
            Some([2]) => ReplyKind::Offer,
            Some([5]) => ReplyKind::Ack,
            Some([6]) => ReplyKind::Nak,
            _ => return Err(ReplyError::Kind),
        };
        let mut mac = [0; 6];
        mac.copy_from_slice(&header[28..34]);
        Ok(Self {
            kind,
            xid: u32::from_be_bytes(array(&header[4..8])),
            yiaddr: Ipv4Addr::from(array(&header[16..20])),
            mac,
            server: fixed(&options, 54)?.map(Ipv4Addr::from),
            prefix_len: fixed(&options, 1)?.map(prefix_len).transpose()?,
            router: first_address(&options, 3)?,
            lease_secs: fixed(&options, 51)?.map(u32::from_be_bytes),
            renew_secs: fixed(&options, 58)?.map(u32::from_be_bytes),
            rebind_secs: fixed(&options, 59)?.map(u32::from_be_bytes),
            vendor_class: options.get(&60).cloned(),
            boot_file: options.get(&67).and_then(|value| text(value)),
            message: options.get(&56).and_then(|value| text(value)),
        })
    }
}

/// Reads all option fields; an option that comes in parts is put together (RFC 3396).
fn collect_options(header: &[u8], options: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, ReplyError> {
    let mut found = BTreeMap::new();
    read_field(options, &mut found)?;
    // Option 52: `file` (1) and `sname` (2) hold options too; some routers need the room.
    let overload = match found.get(&52).map(Vec::as_slice) {
        None => 0,
        Some([value @ 1..=3]) => *value,
        Some(_) => return Err(ReplyError::Option(52)),
    };
    if overload & 1 != 0 {
        read_field(&header[108..236], &mut found)?;
    }
    if overload & 2 != 0 {
        read_field(&header[44..108], &mut found)?;
    }
    Ok(found)
}

fn read_field(mut field: &[u8], found: &mut BTreeMap<u8, Vec<u8>>) -> Result<(), ReplyError> {
    while let Some((&code, rest)) = field.split_first() {
        match code {
            0 => field = rest,
            255 => break,
            _ => {
                let (&len, rest) = rest.split_first().ok_or(ReplyError::Truncated(code))?;
                let (value, rest) = rest.split_at_checked(usize::from(len)).ok_or(ReplyError::Truncated(code))?;
                found.entry(code).or_default().extend_from_slice(value);
                field = rest;
            }
        }
    }
    Ok(())
}

fn fixed(options: &BTreeMap<u8, Vec<u8>>, code: u8) -> Result<Option<[u8; 4]>, ReplyError> {
    options
        .get(&code)
        .map(|value| <[u8; 4]>::try_from(value.as_slice()).map_err(|_| ReplyError::Option(code)))
        .transpose()
}

fn first_address(options: &BTreeMap<u8, Vec<u8>>, code: u8) -> Result<Option<Ipv4Addr>, ReplyError> {
    let Some(value) = options.get(&code) else { return Ok(None) };
    if value.is_empty() || !value.len().is_multiple_of(4) {
        return Err(ReplyError::Option(code));
    }
    Ok(Some(Ipv4Addr::from(array(&value[..4]))).filter(|address| !address.is_unspecified()))
}

/// A netmask must be ones and then zeros.
fn prefix_len(mask: [u8; 4]) -> Result<u8, ReplyError> {
    let mask = u32::from_be_bytes(mask);
    if mask.leading_ones() + mask.trailing_zeros() != 32 || mask == 0 {
        return Err(ReplyError::Option(1));
    }
    u8::try_from(mask.leading_ones()).map_err(|_| ReplyError::Option(1))
}

/// Printable ASCII only: it goes to the console and into URLs.
fn text(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    let value = &value[..end];
    if value.is_empty() || !value.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return None;
    }
    String::from_utf8(value.to_vec()).ok()
}

/// The four bytes of a slice that was cut to four.
fn array(slice: &[u8]) -> [u8; 4] {
    let mut out = [0; 4];
    out.copy_from_slice(slice);
    out
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::dhcp) fn packet(xid: u32, yiaddr: [u8; 4], mac: Mac, options: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0; HEADER_LEN];
        out[..3].copy_from_slice(&[2, 1, 6]);
        out[4..8].copy_from_slice(&xid.to_be_bytes());
        out[16..20].copy_from_slice(&yiaddr);
        out[28..34].copy_from_slice(&mac);
        out.extend_from_slice(&MAGIC_COOKIE);
        for option in options {
            out.extend_from_slice(option);
        }
        out.push(255);
        out
    }

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn reads_a_routers_offer() {
        let reply = Reply::parse(&packet(
            9,
            [192, 0, 2, 10],
            MAC,
            &[
                &[53, 1, 2],
                &[54, 4, 192, 0, 2, 1],
                &[0, 0],
                &[1, 4, 255, 255, 255, 0],
                &[3, 8, 192, 0, 2, 1, 192, 0, 2, 2],
                &[51, 4, 0, 0, 14, 16],
            ],
        ))
        .unwrap();
        assert_eq!(reply.kind, ReplyKind::Offer);
        assert_eq!(reply.yiaddr, Ipv4Addr::new(192, 0, 2, 10));
        assert_eq!(reply.prefix_len, Some(24));
        assert_eq!(reply.router, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(reply.lease_secs, Some(3600));
        assert_eq!(reply.boot_file, None);
    }

    #[test]
    fn reads_the_proxys_offer_with_a_nul_terminated_url() {
        let reply = Reply::parse(&packet(
            9,
            [0; 4],
            MAC,
            &[&[53, 1, 2, 54, 4, 192, 0, 2, 2], b"\x3c\x08Meadow:1", b"\x43\x17http://192.0.2.2:7480/\0"],
        ))
        .unwrap();
        assert_eq!(reply.vendor_class.as_deref(), Some(b"Meadow:1".as_slice()));
        assert_eq!(reply.boot_file.as_deref(), Some("http://192.0.2.2:7480/"));
    }

    #[test]
    fn joins_split_options_and_reads_overloaded_fields() {
        let mut bytes = packet(9, [0; 4], MAC, &[&[53, 1, 2], b"\x43\x04http", b"\x43\x03://", &[52, 1, 1]]);
        bytes[108..115].copy_from_slice(&[54, 4, 192, 0, 2, 7, 255]);
        let reply = Reply::parse(&bytes).unwrap();
        assert_eq!(reply.boot_file.as_deref(), Some("http://"));
        assert_eq!(reply.server, Some(Ipv4Addr::new(192, 0, 2, 7)));
    }

    #[test]
    fn refuses_what_is_malformed() {
        let cases: [(&[&[u8]], ReplyError); 8] = [
            (&[], ReplyError::Kind),
            (&[&[53, 1, 1]], ReplyError::Kind),
            (&[&[53, 1, 2], &[1, 4, 255, 0, 255, 0]], ReplyError::Option(1)),
            (&[&[53, 1, 2], &[1, 4, 0, 0, 0, 0]], ReplyError::Option(1)),
            (&[&[53, 1, 2], &[51, 2, 0, 0]], ReplyError::Option(51)),
            (&[&[53, 1, 2], &[3, 3, 1, 1, 1]], ReplyError::Option(3)),
            (&[&[53, 1, 2], &[52, 1, 9]], ReplyError::Option(52)),
            (&[&[53, 1, 2], &[60, 200]], ReplyError::Truncated(60)),
        ];
        for (options, expected) in cases {
            assert_eq!(Reply::parse(&packet(1, [0; 4], MAC, options)), Err(expected), "{options:?}");
        }
        assert_eq!(Reply::parse(&[2, 1, 6]), Err(ReplyError::Size(3)));
        assert_eq!(Reply::parse(&[2; 2000]), Err(ReplyError::Size(2000)));
        let mut request = packet(1, [0; 4], MAC, &[&[53, 1, 2]]);
        request[0] = 1;
        assert_eq!(Reply::parse(&request), Err(ReplyError::Header));
        request[0] = 2;
        request[236] = 0;
        assert_eq!(Reply::parse(&request), Err(ReplyError::Cookie));
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
            let _ = Reply::parse(&bytes);
        }

        #[test]
        fn never_panics_on_any_options(options in proptest::collection::vec(any::<u8>(), 0..600), file in any::<[u8; 32]>()) {
            let mut bytes = packet(1, [0; 4], MAC, &[&[53, 1, 2, 52, 1, 3], &options]);
            bytes[108..140].copy_from_slice(&file);
            bytes[44..76].copy_from_slice(&file);
            let _ = Reply::parse(&bytes);
        }
    }
}
