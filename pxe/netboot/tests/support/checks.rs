//! What must hold of every target, whatever the bytes.

use std::net::SocketAddr;
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_netboot::BootImage;
use meadow_netboot::dhcp::Request;
use meadow_netboot::event::printable;
use meadow_netboot::http::{ByteRange, MAX_HEAD, Parsed, RangeRequest, RequestHead, ResponseHead, content_type};
use meadow_netboot::icmpv6::solicitation_sender;
use meadow_netboot::pcap::{SNAP_LENGTH, concerns, record};
use meadow_netboot::route::{Route, is_artifact_name};
use meadow_netboot::script::{boot_image, is_command_line};
use meadow_netboot::tftp::{Ending, MAX_BLOCK_SIZE, MAX_WINDOW, Output, ReadRequest, RequestedOptions, Transfer};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// A packet that is read names one card.
pub fn dhcp_request(bytes: &[u8]) -> TestCaseResult {
    if let Ok(request) = Request::parse(bytes) {
        prop_assert_eq!(&bytes[28..34], &request.mac.0[..]);
        prop_assert_eq!(&bytes[4..8], request.xid.to_be_bytes());
    }
    Ok(())
}

/// What a read request leads to stays in the served folder, and is one small packet.
pub fn tftp_request(datagram: &[u8]) -> TestCaseResult {
    match ReadRequest::parse(datagram) {
        Err(error) => prop_assert!(error.packet().is_none_or(|packet| packet.len() <= 205)),
        Ok(request) => {
            prop_assert!(is_artifact_name(&request.name), "{:?}", request.name);
            let (_, output) = Transfer::start(Duration::ZERO, &request, 1_000_000);
            prop_assert!(is_small(&output), "{output:?}");
        }
    }
    Ok(())
}

fn is_small(output: &Output) -> bool {
    match output {
        Output::Packet(packet) => packet.len() <= 100,
        Output::Blocks(window) => window.blocks == 1 && window.block_size == 512,
        _ => false,
    }
}

/// Eight bytes of options and size, then what happens: acknowledgements near and far, silence, time, repeated requests
/// and other datagrams.
pub fn tftp_transfer(bytes: &[u8]) -> TestCaseResult {
    let Some(([a, b, window, flags, s0, s1, s2, s3], mut script)) = bytes.split_first_chunk::<8>() else {
        return Ok(());
    };
    let size = u64::from(u32::from_be_bytes([*s0, *s1, *s2, *s3]) >> (flags & 31));
    let options = RequestedOptions {
        block_size: (flags & 1 == 0).then(|| u16::from_be_bytes([*a, *b]).max(8)),
        window: (*window > 0).then(|| u16::from(*window) * 3),
        timeout: (flags & 2 == 0).then_some(*a % 3 + 1),
        size: flags & 4 == 0,
    };
    let request = ReadRequest { name: "file".into(), options };
    let mut now = Duration::ZERO;
    let (mut transfer, mut output) = Transfer::start(now, &request, size);
    // The last block that left.
    let mut last = 0_u16;
    loop {
        if !check_output(&transfer, &output, now, size, &mut last)? {
            return Ok(());
        }
        let [kind, value, rest @ ..] = script else { break };
        script = rest;
        output = match kind % 8 {
            0 | 1 => transfer.on_datagram(now, &ack(last)),
            2 => transfer.on_datagram(now, &ack(last.wrapping_sub(u16::from(*value)))),
            3 => transfer.on_datagram(now, &ack(last.wrapping_add(u16::from(*value) << 8))),
            4 => {
                now = transfer.deadline();
                transfer.on_deadline(now)
            }
            5 => {
                now += Duration::from_micros(1 << (value % 23));
                transfer.on_deadline(now)
            }
            6 => transfer.on_request_again(now),
            _ => {
                let (datagram, rest) = script.split_at(script.len().min(usize::from(*value)));
                script = rest;
                transfer.on_datagram(now, datagram)
            }
        };
    }
    // A client that falls silent is given up: some bursts, a question, some repetitions.
    for _ in 0..4 * usize::from(MAX_WINDOW) {
        now = transfer.deadline();
        if let Output::End(ending) = transfer.on_deadline(now) {
            // Or it has all, but for its last acknowledgement.
            let wanted =
                if transfer.is_all_sent() { Ending::Unconfirmed } else { Ending::Silent(transfer.acked_bytes()) };
            prop_assert_eq!(ending, wanted);
            return Ok(());
        }
    }
    Err(TestCaseError::fail("a silent client is never given up"))
}

/// Checks what a transfer wants; whether it goes on.
fn check_output(
    transfer: &Transfer,
    output: &Output,
    now: Duration,
    size: u64,
    last: &mut u16,
) -> Result<bool, TestCaseError> {
    if !transfer.is_answered() && !matches!(output, Output::End(_) | Output::Wait) {
        prop_assert!(is_small(output), "nobody has answered yet: {output:?}");
    }
    match output {
        Output::End(Ending::Complete) => prop_assert_eq!(transfer.acked_bytes(), size),
        Output::Blocks(window) => {
            let (block, blocks) = (u64::from(window.block_size), u64::from(window.blocks));
            prop_assert!(window.blocks >= 1 && window.blocks <= MAX_WINDOW && window.block_size <= MAX_BLOCK_SIZE);
            prop_assert!(window.offset + window.length <= size);
            prop_assert!(window.length <= blocks * block && window.length + block > (blocks - 1) * block);
            prop_assert!(window.offset < transfer.acked_bytes() + u64::from(MAX_WINDOW) * block);
            *last = window.first_block.wrapping_add(window.blocks - 1);
        }
        _ => {}
    }
    if matches!(output, Output::End(_)) {
        return Ok(false);
    }
    prop_assert!(transfer.deadline() <= now + Duration::from_secs(15), "a deadline too far away");
    Ok(true)
}

fn ack(block: u16) -> [u8; 4] {
    let [high, low] = block.to_be_bytes();
    [0, 4, high, low]
}

/// A head that is read ends where it says, whatever follows it, and names nothing outside.
pub fn http_head(bytes: &[u8]) -> TestCaseResult {
    let Ok(Parsed::Complete(head, length)) = RequestHead::parse(bytes) else { return Ok(()) };
    prop_assert!(length <= bytes.len() && length <= MAX_HEAD);
    prop_assert_eq!(RequestHead::parse(&bytes[..length - 1]), Ok(Parsed::Incomplete));
    prop_assert!(head.path.starts_with('/'));
    if let Some(part) = head.range.and_then(|range| range.resolve(1000)) {
        prop_assert!(part.length > 0 && part.start + part.length <= 1000);
    }
    path(head.path.as_bytes())
}

/// A part lies in the file, whatever its size, and the answer's head is well-formed.
pub fn http_range(bytes: &[u8]) -> TestCaseResult {
    let Some(range) = std::str::from_utf8(bytes).ok().and_then(RangeRequest::parse) else { return Ok(()) };
    for size in [0, 1, 1000, u64::from(u32::MAX), u64::MAX] {
        let Some(part @ ByteRange { start, length }) = range.resolve(size) else { continue };
        prop_assert!(length > 0 && start.checked_add(length).is_some_and(|end| end <= size));
        let mut head = ResponseHead::new(206, content_type("x"), length);
        head.range = Some((part, size));
        let text = String::from_utf8(head.encode()).expect("ASCII");
        prop_assert_eq!(text.matches("\r\n\r\n").count(), 1);
    }
    Ok(())
}

/// Sixteen bytes of source, one of hop limit, then a message. A sender is told only of a solicitation that no router has
/// passed on, and is one card.
pub fn icmpv6(bytes: &[u8]) -> TestCaseResult {
    let whole = solicitation_sender(bytes, "fe80::5054:ff:fe00:3".parse().expect("an address"), 255);
    prop_assert!(whole.is_none_or(|mac| mac.is_unicast()));
    let Some((source, [hop_limit, message @ ..])) = bytes.split_first_chunk::<16>() else { return Ok(()) };
    let source = std::net::Ipv6Addr::from(*source);
    if let Some(mac) = solicitation_sender(message, source, *hop_limit) {
        prop_assert!(mac.is_unicast());
        prop_assert_eq!((message[0], *hop_limit), (133, 255));
        prop_assert!(source.is_unicast_link_local());
    }
    Ok(())
}

/// What a path or a name leads to stays in the folder.
pub fn path(bytes: &[u8]) -> TestCaseResult {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    let name = match Route::parse(text) {
        Some(Route::Artifact(name) | Route::File(name) | Route::Image { name, .. }) => name,
        _ if is_artifact_name(text) => text,
        _ => return Ok(()),
    };
    let joined = std::path::Path::new("/image").join(name);
    prop_assert!(joined.starts_with("/image") && joined.components().all(|part| part.as_os_str() != ".."), "{name:?}");
    Ok(())
}

/// A command line that is let through stays one argument list of one command.
pub fn script(bytes: &[u8]) -> TestCaseResult {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    if !is_command_line(text) {
        return Ok(());
    }
    let made = |line: &str| {
        let server = SocketAddr::from(([192, 0, 2, 2], 7480));
        boot_image(server, MacAddress([2, 0, 0, 0, 0, 1]), &BootImage::Installed, line)
    };
    let (made, plain) = (made(text), made("quiet"));
    prop_assert_eq!(made.lines().count(), plain.lines().count());
    let kernel = made.lines().nth(2).expect("a kernel");
    prop_assert!(kernel.starts_with("kernel ") && kernel.ends_with(" || goto failed"));
    prop_assert_eq!(kernel.split(' ').filter(|word| matches!(*word, "||" | "&&" | ";")).count(), 1);
    let is_expanded = made.contains("${");
    prop_assert!(!is_expanded && made.is_ascii());
    Ok(())
}

/// What is kept of a frame is its beginning, and of TCP no more than the header.
pub fn captured_frame(frame: &[u8]) -> TestCaseResult {
    let record = record(Duration::from_secs(1), frame);
    let kept = record.get(16..).unwrap_or_default();
    prop_assert!(kept.len() <= SNAP_LENGTH as usize && frame.starts_with(kept));
    let is_plain_tcp = frame.get(12..15) == Some(&[8, 0, 0x45])
        && frame.get(20..24).is_some_and(|ip| ip[0..2] == [0, 0] && ip[3] == 6);
    prop_assert!(
        frame.get(12..14) != Some(&[0x88, 0x64]) || kept.len() <= 14,
        "{} bytes of what nobody reads",
        kept.len()
    );
    prop_assert!(!is_plain_tcp || kept.len() <= 14 + 20 + 60, "{} bytes of TCP", kept.len());
    if let Some(mac) = frame.first_chunk().filter(|_| frame.len() >= 14) {
        prop_assert!(concerns(frame, MacAddress(*mac)));
    }
    Ok(())
}

/// Text from the network is fit for a log.
pub fn log_text(bytes: &[u8]) -> TestCaseResult {
    let text = printable(bytes, 80);
    prop_assert!(text.len() <= 80 && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
    Ok(())
}
