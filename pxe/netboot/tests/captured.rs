//! TFTP, HTTP and ICMPv6 requests of real clients.

#[path = "support/packets.rs"]
#[allow(dead_code, reason = "this test needs the captures only")]
mod packets;

use meadow_model::MacAddress;
use meadow_netboot::http::{Method, Parsed, RangeRequest, RequestHead};
use meadow_netboot::icmpv6::solicitation_sender;
use meadow_netboot::tftp::{ReadRequest, RequestedOptions};
use packets::captured;

#[test]
fn ovmf_asks_for_the_size_then_for_the_file() {
    for (packet, size) in [("ovmf-tftp-size", true), ("ovmf-tftp-read", false)] {
        let request = ReadRequest::parse(&captured(packet)).expect("a read request");
        assert_eq!(request.name, "ipxe/snponly.efi");
        let wanted = RequestedOptions { block_size: Some(1468), window: Some(4), timeout: None, size };
        assert_eq!(request.options, wanted, "{packet}");
    }
}

#[test]
fn ipxe_tells_its_address_in_its_solicitation() {
    let message = captured("ipxe-rom-router-solicitation");
    let source = "fe80::5054:ff:fe00:3".parse().expect("an address");
    let mac = MacAddress([0x52, 0x54, 0, 0, 0, 3]);
    assert_eq!(solicitation_sender(&message, source, 255), Some(mac));
}

#[test]
fn http_clients_ask_for_files_and_ranges() {
    for (request, path, range) in [
        ("ipxe-rom-http-get", "/ipxe/52-54-00-12-34-56/boot.ipxe", None),
        ("curl-http-range", "/artifacts/vmlinuz", Some(RangeRequest::FromTo(0, 99))),
    ] {
        let bytes = captured(request);
        let Ok(Parsed::Complete(head, length)) = RequestHead::parse(&bytes) else { panic!("{request}") };
        assert_eq!((head.method, head.path.as_str(), head.range), (Method::Get, path, range), "{request}");
        assert!(head.keep_alive && length == bytes.len(), "{request}");
    }
}
