//! Transfers against a model of a client, on a network that loses and repeats packets.

use std::time::Duration;

use proptest::prelude::*;

use super::output::{Ending, Output, Window};
use super::packet::{ReadRequest, RequestedOptions};
use super::transfer::Transfer;

const NOW: Duration = Duration::ZERO;

fn request(block_size: Option<u16>, window: Option<u16>, size: bool) -> ReadRequest {
    let options = RequestedOptions { block_size, window, timeout: None, size };
    ReadRequest { name: "file".into(), options }
}

fn ack(block: u16) -> [u8; 4] {
    let [high, low] = block.to_be_bytes();
    [0, 4, high, low]
}

fn blocks(output: &Output) -> Window {
    match output {
        Output::Blocks(window) => *window,
        other => panic!("expected blocks, got {other:?}"),
    }
}

#[test]
fn plain_transfer_has_512_byte_blocks_and_no_option_ack() {
    let (mut transfer, output) = Transfer::start(NOW, &request(None, None, false), 1024);
    assert_eq!(blocks(&output), Window { first_block: 1, offset: 0, length: 512, blocks: 1, block_size: 512 });
    assert_eq!(blocks(&transfer.on_datagram(NOW, &ack(1))).offset, 512);
    let last = blocks(&transfer.on_datagram(NOW, &ack(2)));
    assert_eq!((last.first_block, last.length), (3, 0), "a full last block needs an empty one behind it");
    assert_eq!(transfer.on_datagram(NOW, &ack(3)), Output::End(Ending::Complete));
}

#[test]
fn option_ack_holds_what_was_asked_and_no_more() {
    for (request, wanted) in [
        (request(Some(9000), None, false), &b"\0\x06blksize\x001468\0"[..]),
        (request(Some(512), Some(900), true), b"\0\x06blksize\x00512\0windowsize\x0064\0tsize\x0010\0"),
        (request(None, None, true), b"\0\x06tsize\x0010\0"),
    ] {
        let (_, output) = Transfer::start(NOW, &request, 10);
        assert_eq!(output, Output::Packet(wanted.to_vec()));
    }
}

#[test]
fn size_probe_of_edk2_is_no_failure() {
    let (mut transfer, _) = Transfer::start(NOW, &request(Some(1468), Some(4), true), 10_000);
    let aborted = b"\0\x05\0\x08User aborted the transfer\0";
    assert_eq!(transfer.on_datagram(NOW, aborted), Output::End(Ending::Probed));
    // Others that end like this failed: a full disk, options that the client does not like, no question for the size.
    for (asks_size, error) in [(true, &b"\0\x05\0\x03Disk full\0"[..]), (false, aborted)] {
        let (mut transfer, _) = Transfer::start(NOW, &request(Some(1468), Some(4), asks_size), 10_000);
        let ending = transfer.on_datagram(NOW, error);
        assert!(matches!(ending, Output::End(Ending::ClientError(_))), "{ending:?}");
    }
}

#[test]
fn a_client_that_takes_next_to_nothing_loses_its_place() {
    let (mut transfer, _) = Transfer::start(NOW, &request(Some(8), Some(1), false), 1 << 20);
    transfer.on_datagram(NOW, &ack(0));
    // One block of 8 bytes every 4 s, so that it never counts as silent.
    let ended = (1..100).find_map(|block| {
        let output = transfer.on_datagram(Duration::from_secs(4 * u64::from(block)), &ack(block));
        matches!(output, Output::End(_)).then_some((block, output))
    });
    assert_eq!(ended, Some((15, Output::End(Ending::Slow(120)))));
    let options = RequestedOptions { block_size: None, window: None, timeout: Some(255), size: false };
    let parsed = ReadRequest::parse(b"\0\x01file\0octet\0timeout\x00255\0").expect("a request");
    assert_ne!(parsed.options, options, "nobody is waited for that long");
}

#[test]
fn error_in_the_middle_is_a_failure_with_its_text() {
    let (mut transfer, _) = Transfer::start(NOW, &request(None, None, false), 10_000);
    let output = transfer.on_datagram(NOW, b"\0\x05\0\x03disk full\x1b[2J\0");
    assert_eq!(output, Output::End(Ending::ClientError("code 3 disk full?[2J".into())));
}

#[test]
fn a_last_acknowledgement_that_is_missing_is_no_failure_and_one_before_it_is() {
    for (acks, wanted) in [(2, Ending::Unconfirmed), (1, Ending::Silent(512))] {
        // Blocks of 512, 512 and 76 bytes.
        let (mut transfer, _) = Transfer::start(NOW, &request(None, None, false), 1100);
        for block in 1..=acks {
            transfer.on_datagram(NOW, &ack(block));
        }
        let ending = (0..1000).find_map(|_| match transfer.on_deadline(transfer.deadline()) {
            Output::End(ending) => Some(ending),
            _ => None,
        });
        assert_eq!(ending, Some(wanted), "after {acks} acknowledgements");
    }
}

#[test]
fn repeated_ack_is_never_answered_in_lock_step() {
    let (mut transfer, _) = Transfer::start(NOW, &request(None, None, false), 10_000);
    assert!(matches!(transfer.on_datagram(NOW, &ack(1)), Output::Blocks(_)));
    assert_eq!(transfer.on_datagram(NOW, &ack(1)), Output::Wait);
    assert_eq!(transfer.on_datagram(NOW, &ack(0)), Output::Wait, "older still");
}

#[test]
fn gap_is_resent_from_the_block_behind_the_ack() {
    let (mut transfer, _) = Transfer::start(NOW, &request(Some(100), Some(4), false), 10_000);
    assert_eq!(blocks(&transfer.on_datagram(NOW, &ack(0))).blocks, 4);
    let after_gap = blocks(&transfer.on_datagram(NOW, &ack(2)));
    assert_eq!((after_gap.first_block, after_gap.offset, after_gap.blocks), (3, 200, 4));
    let first_lost = blocks(&transfer.on_datagram(NOW, &ack(2)));
    assert_eq!(first_lost.first_block, 3, "the window's first block was lost");
    assert_eq!(transfer.on_datagram(NOW, &ack(2)), Output::Wait, "answered once");
    assert_eq!(blocks(&transfer.on_datagram(NOW, &ack(6))).first_block, 7);
    assert_eq!(transfer.on_datagram(NOW, &ack(6)), Output::Wait, "the echo of the resend");
}

#[test]
fn acks_of_blocks_never_sent_are_dropped() {
    let (mut transfer, _) = Transfer::start(NOW, &request(None, None, false), 10_000);
    for block in [2, 3, 65535] {
        assert_eq!(transfer.on_datagram(NOW, &ack(block)), Output::Wait, "{block}");
    }
}

#[test]
fn who_has_not_answered_gets_one_small_packet_a_request_and_is_forgotten() {
    for options in [request(None, None, false), request(Some(1468), Some(64), true)] {
        let small = |output: &Output| match output {
            Output::Packet(packet) => packet.len() < 100,
            Output::Blocks(window) => (window.blocks, window.block_size) == (1, 512),
            _ => false,
        };
        let (mut transfer, first) = Transfer::start(NOW, &options, 1 << 20);
        assert!(small(&first), "{first:?}");
        let asked_again = (0..100).filter(|_| transfer.on_request_again(NOW) == first).count();
        assert_eq!(asked_again, 8);
        assert!(!transfer.is_answered());
        assert!(transfer.deadline() > NOW + Duration::from_secs(5), "firmware asks again after 5 s");
        assert_eq!(transfer.on_deadline(transfer.deadline()), Output::End(Ending::Silent(0)));
    }
}

#[test]
fn silence_is_answered_with_growing_patience_then_given_up() {
    let (mut transfer, _) = Transfer::start(NOW, &request(None, None, false), 2000);
    transfer.on_datagram(NOW, &ack(1));
    let (mut waits, mut sent, mut now) = (vec![], 0, NOW);
    loop {
        waits.push((transfer.deadline() - now).as_millis());
        now = transfer.deadline();
        match transfer.on_deadline(now) {
            Output::Blocks(window) => {
                assert_eq!(window.first_block, 2);
                sent += 1;
            }
            output => {
                assert_eq!(output, Output::End(Ending::Silent(512)));
                break;
            }
        }
    }
    assert_eq!((waits, sent), (vec![5, 995, 2000, 4000, 5000, 5000, 5000, 5000], 7));
}

#[test]
fn lost_end_of_a_window_is_asked_after_with_its_last_block() {
    let (mut transfer, _) = Transfer::start(NOW, &request(Some(100), Some(4), false), 10_000);
    let later = NOW + Duration::from_millis(1);
    assert_eq!(blocks(&transfer.on_datagram(later, &ack(0))).blocks, 4);
    let probe = blocks(&transfer.on_deadline(transfer.deadline()));
    assert_eq!((probe.first_block, probe.offset, probe.length, probe.blocks), (4, 300, 100, 1));
    assert_eq!(blocks(&transfer.on_datagram(later, &ack(3))).first_block, 4, "the client had three");
}

#[test]
fn who_was_only_slow_says_the_same_to_the_probe_and_gets_nothing_for_it() {
    let (mut transfer, _) = Transfer::start(NOW, &request(Some(100), Some(4), false), 10_000);
    transfer.on_datagram(NOW + Duration::from_millis(1), &ack(0));
    let asked = transfer.deadline();
    assert_eq!(blocks(&transfer.on_deadline(asked)).blocks, 1);
    assert_eq!(blocks(&transfer.on_datagram(asked, &ack(4))).first_block, 5);
    assert_eq!(transfer.on_datagram(asked, &ack(4)), Output::Wait, "the answer to the probe");
    assert_eq!(transfer.resent_windows(), 0);
}

#[test]
fn bursts_with_pauses_make_up_the_window() {
    let (mut transfer, _) = Transfer::start(NOW, &request(Some(100), Some(64), false), 1_000_000);
    let mut now = NOW + Duration::from_millis(1);
    let mut output = transfer.on_datagram(now, &ack(0));
    // A client that takes 100 µs a block and loses the end of every window of 64 at once.
    for _ in 0..2 {
        let window = blocks(&output);
        assert_eq!(window.blocks, 64);
        now += Duration::from_millis(1) + Duration::from_micros(100) * 32;
        output = transfer.on_datagram(now, &ack(window.first_block + 31));
    }
    let first = blocks(&output);
    assert_eq!(first.blocks, 32);
    assert!(
        transfer.deadline() > now + Duration::from_micros(3000)
            && transfer.deadline() <= now + Duration::from_micros(3300)
    );
    assert_eq!(transfer.on_deadline(now), Output::Wait, "not before the pause is over");
    let second = blocks(&transfer.on_deadline(transfer.deadline()));
    assert_eq!((second.first_block, second.blocks), (first.first_block + 32, 32));
    assert_eq!(transfer.resent_windows(), 2);
}

/// A correct client of RFC 7440: acknowledges the end of each window, and at a gap, once for each
/// burst, the last block that came in order.
struct Client {
    received: u64,
    block_size: u64,
    window: u64,
    since_ack: u64,
    gap_said: bool,
    bytes: u64,
    complete: bool,
}

impl Client {
    fn on_block(&mut self, number: u16, length: u64) -> Option<u16> {
        let expected = ((self.received + 1) & 0xffff) as u16;
        if number != expected {
            let say = !self.gap_said;
            self.gap_said = true;
            self.since_ack = 0;
            return say.then_some((self.received & 0xffff) as u16);
        }
        self.gap_said = false;
        self.received += 1;
        self.bytes += length;
        self.since_ack += 1;
        self.complete = length < self.block_size;
        if self.complete || self.since_ack == self.window {
            self.since_ack = 0;
            return Some(number);
        }
        None
    }
}

/// Runs a transfer to its end; `fate` says of each packet how many copies arrive (0, 1 or 2).
fn run(size: u64, block_size: u16, window: u16, mut fate: impl FnMut() -> usize) -> (Client, Ending, u64) {
    let (mut transfer, output) = Transfer::start(NOW, &request(Some(block_size), Some(window), true), size);
    let mut client = Client {
        received: 0,
        block_size: u64::from(block_size),
        window: u64::from(window),
        since_ack: 0,
        gap_said: false,
        bytes: 0,
        complete: false,
    };
    let mut now = NOW;
    let mut outputs = std::collections::VecDeque::from([output]);
    let mut packets = 0;
    loop {
        let output = outputs.pop_front().unwrap_or_else(|| {
            if !transfer.is_answered() {
                return transfer.on_request_again(now);
            }
            now = transfer.deadline();
            transfer.on_deadline(now)
        });
        let mut acks = vec![];
        match output {
            Output::Wait => {}
            Output::End(ending) => return (client, ending, packets),
            Output::Packet(_) => {
                packets += 1;
                acks.extend((0..fate()).map(|_| 0));
            }
            Output::Blocks(sent) => {
                let mut left = sent.length;
                client.gap_said = false;
                for index in 0..sent.blocks {
                    packets += 1;
                    let length = left.min(u64::from(sent.block_size));
                    left -= length;
                    for _ in 0..fate() {
                        acks.extend(client.on_block(sent.first_block.wrapping_add(index), length));
                    }
                }
            }
        }
        for block in acks {
            for _ in 0..fate() {
                outputs.push_back(transfer.on_datagram(now, &ack(block)));
            }
        }
    }
}

#[test]
fn block_numbers_wrap() {
    let size = 70_000 * 8 + 3;
    let (client, ending, packets) = run(size, 8, 64, || 1);
    assert_eq!(ending, Ending::Complete);
    assert_eq!((client.bytes, client.received), (size, 70_001));
    assert_eq!(packets, 70_002, "nothing is sent twice on a clean network");
}

proptest! {
    #[test]
    fn a_client_gets_every_byte_over_a_bad_network(
        size in 0_u64..20_000,
        block_size in 8_u16..=1468,
        window in 1_u16..=64,
        fates in proptest::collection::vec(prop_oneof![8 => Just(1_usize), 1 => Just(0), 1 => Just(2)], 1..200),
    ) {
        let mut fates = fates.into_iter();
        let (client, ending, _) = run(size, block_size, window, || fates.next().unwrap_or(1));
        // A lost last acknowledgement leaves the server in the dark, as in every two-party protocol.
        // Nor does it know a client whose every request and answer is lost.
        prop_assert!(client.complete && client.bytes == size, "{ending:?}, {} of {size}", client.bytes);
    }

    #[test]
    fn hostile_datagrams_never_panic_nor_send_beyond_the_file(
        size in 0_u64..100_000,
        block_size in proptest::option::of(8_u16..=65464),
        window in proptest::option::of(1_u16..),
        datagrams in proptest::collection::vec(
            prop_oneof![
                (0_u16..200).prop_map(|block| ack(block).to_vec()),
                proptest::collection::vec(any::<u8>(), 0..40),
            ],
            0..200,
        ),
    ) {
        let (mut transfer, _) = Transfer::start(NOW, &request(block_size, window, false), size);
        for datagram in datagrams {
            match transfer.on_datagram(NOW, &datagram) {
                Output::Blocks(sent) => {
                    prop_assert!(sent.offset + sent.length <= size);
                    prop_assert!(sent.blocks >= 1 && sent.blocks <= 64 && sent.block_size <= 1468);
                    prop_assert!(sent.length <= u64::from(sent.blocks) * u64::from(sent.block_size));
                }
                Output::End(_) => break,
                _ => {}
            }
        }
    }
}
