//! Packets of real firmware, captured from QEMU's virtual machines, and packets built after the RFCs.

#![allow(missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]

use std::net::{Ipv4Addr, SocketAddrV4};

use meadow_model::MacAddress;
use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{Policy, Receive, ServerPort};
use meadow_netboot::{BootDecision, Sighting};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// A packet of `testdata/`.
pub fn captured(name: &str) -> Vec<u8> {
    let text = match name {
        "curl-http-range" => include_str!("../../testdata/curl-http-range.hex"),
        "ipxe-rom-bios-discover" => include_str!("../../testdata/ipxe-rom-bios-discover.hex"),
        "ipxe-rom-bios-request" => include_str!("../../testdata/ipxe-rom-bios-request.hex"),
        "ipxe-rom-http-get" => include_str!("../../testdata/ipxe-rom-http-get.hex"),
        "ipxe-rom-router-solicitation" => include_str!("../../testdata/ipxe-rom-router-solicitation.hex"),
        "ipxe-snponly-discover" => include_str!("../../testdata/ipxe-snponly-discover.hex"),
        "ovmf-http-discover" => include_str!("../../testdata/ovmf-http-discover.hex"),
        "ovmf-pxe-boot-server-request" => include_str!("../../testdata/ovmf-pxe-boot-server-request.hex"),
        "ovmf-pxe-discover" => include_str!("../../testdata/ovmf-pxe-discover.hex"),
        "ovmf-pxe-request" => include_str!("../../testdata/ovmf-pxe-request.hex"),
        "ovmf-tftp-read" => include_str!("../../testdata/ovmf-tftp-read.hex"),
        "ovmf-tftp-size" => include_str!("../../testdata/ovmf-tftp-size.hex"),
        _ => panic!("no such capture: {name}"),
    };
    from_hex(text)
}

/// Several packets of `testdata/`.
pub fn all_captured(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| captured(name)).collect()
}

/// The bytes of a file in hex; lines that begin with `#` say what they are.
pub fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

/// A request with these options.
pub fn request(options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&[1, 2, 3, 4]);
    bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
    for (code, value) in options {
        bytes.push(*code);
        bytes.push(u8::try_from(value.len()).expect("short option"));
        bytes.extend_from_slice(value);
    }
    bytes.push(255);
    bytes
}

/// Options of a reply, in their order.
pub fn options(reply: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &reply[240..];
    let mut found = vec![];
    while let [code, tail @ ..] = rest {
        if *code == 255 {
            assert!(tail.iter().all(|&b| b == 0), "only padding behind the end");
            return found;
        }
        assert_ne!(*code, 0, "no pad between options");
        let length = usize::from(tail[0]);
        found.push((*code, tail[1..=length].to_vec()));
        rest = &tail[1 + length..];
    }
    panic!("no end mark");
}

pub fn option(reply: &[u8], code: u8) -> Option<Vec<u8>> {
    options(reply).into_iter().find(|(found, _)| *found == code).map(|(_, value)| value)
}

pub fn on_67() -> Receive {
    Receive {
        port: ServerPort::Dhcp,
        address: SERVER,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        is_far: false,
    }
}

pub fn on_4011() -> Receive {
    let source = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 86), 4011);
    Receive { port: ServerPort::BootServer, address: SERVER, source, is_far: false }
}

/// One decision for all machines, and all artifacts there but one.
pub struct Everyone {
    pub decision: BootDecision,
    pub missing: Option<&'static str>,
    /// The processors that the image is for.
    pub architecture: Option<&'static str>,
}

impl Everyone {
    pub fn gets(policy: BootPolicy) -> Self {
        Self { decision: BootDecision::new(policy), missing: None, architecture: None }
    }
}

impl Policy for Everyone {
    fn decide(&self, _: &Sighting) -> BootDecision {
        self.decision
    }

    fn is_ready(&self, artifact: &str) -> bool {
        self.missing != Some(artifact)
    }

    fn image_architecture(&self, _: MacAddress) -> Option<String> {
        self.architecture.map(str::to_owned)
    }
}
