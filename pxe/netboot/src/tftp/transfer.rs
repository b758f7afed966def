//! One transfer to one client.

use std::time::Duration;

use super::packet::{OPCODE_ACK, OPCODE_ERROR, OPCODE_OACK, ReadRequest, RequestedOptions};
use crate::event::printable;

/// Largest block: a full Ethernet frame. Boot ROMs do not put IP fragments together.
pub const MAX_BLOCK_SIZE: u16 = 1468;

/// Largest window; common clients fail above it.
pub const MAX_WINDOW: u16 = 64;

const DEFAULT_BLOCK_SIZE: u16 = 512;

/// First wait for an acknowledgement, doubled at each silence.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// Silences in a row before the client is given up.
const MAX_SILENCES: u32 = 6;

/// Consecutive blocks to send at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Number of the first block on the wire; numbers wrap from 65535 to 0.
    pub first_block: u16,
    /// Where the first block begins in the file.
    pub offset: u64,
    /// How many bytes all blocks hold together; the last block may be short or empty.
    pub length: u64,
    /// How many blocks.
    pub blocks: u16,
    /// Size of all blocks but the last of the file.
    pub block_size: u16,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The client has all.
    Complete,
    /// The client stopped before it took a byte: it wanted the size only, as EDK2 does.
    Probed,
    /// The client reported an error; its text.
    ClientError(String),
    /// The client fell silent after this many acknowledged bytes.
    Silent(u64),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Nothing but to wait until the [deadline](Transfer::deadline).
    Wait,
    /// Send this packet.
    Packet(Vec<u8>),
    /// Send these blocks.
    Blocks(Window),
    /// Close the socket.
    End(Ending),
}

/// State of one transfer. Feed it what the client sends and the passing of its deadline.
#[derive(Debug)]
pub struct Transfer {
    size: u64,
    block_size: u16,
    window: u16,
    fixed_timeout: Option<Duration>,
    option_ack: Option<Vec<u8>>,
    /// Blocks acknowledged in order, counted without wrap-around.
    acked: u64,
    /// Highest block sent.
    sent: u64,
    deadline: Duration,
    silences: u32,
    /// The count of acknowledged blocks at which a repeated acknowledgement last led to a resend.
    resent_at: Option<u64>,
}

impl Transfer {
    /// Begins a transfer of a file of `size` bytes.
    #[must_use]
    pub fn start(now: Duration, request: &ReadRequest, size: u64) -> (Self, Output) {
        let options = request.options;
        let block_size = options.block_size.map(|size| size.min(MAX_BLOCK_SIZE));
        let window = options.window.map(|window| window.min(MAX_WINDOW));
        let option_ack = encode_option_ack(options, block_size, window, size);
        let mut transfer = Self {
            size,
            block_size: block_size.unwrap_or(DEFAULT_BLOCK_SIZE),
            window: window.unwrap_or(1),
            fixed_timeout: options.timeout.map(|seconds| Duration::from_secs(u64::from(seconds))),
            option_ack,
            acked: 0,
            sent: 0,
            deadline: now,
            silences: 0,
            resent_at: None,
        };
        let output = transfer.resend(now);
        (transfer, output)
    }

    /// When [`Self::on_deadline`] is to be called, if nothing came before.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Size of a block in this transfer.
    #[must_use]
    pub fn block_size(&self) -> u16 {
        self.block_size
    }

    /// Bytes that the client has acknowledged.
    #[must_use]
    pub fn acked_bytes(&self) -> u64 {
        (self.acked * u64::from(self.block_size)).min(self.size)
    }

    /// The client sent a datagram to this transfer's port. Anything but an acknowledgement or an
    /// error is dropped.
    pub fn on_datagram(&mut self, now: Duration, datagram: &[u8]) -> Output {
        let [high, low, value_high, value_low, rest @ ..] = datagram else { return Output::Wait };
        let value = u16::from_be_bytes([*value_high, *value_low]);
        match u16::from_be_bytes([*high, *low]) {
            OPCODE_ACK => self.on_ack(now, value),
            OPCODE_ERROR if self.acked == 0 && self.option_ack.is_some() => Output::End(Ending::Probed),
            OPCODE_ERROR => {
                let text = rest.split(|&b| b == 0).next().unwrap_or_default();
                Output::End(Ending::ClientError(format!("code {value} {}", printable(text, 80)).trim_end().to_owned()))
            }
            _ => Output::Wait,
        }
    }

    /// The deadline passed without progress.
    pub fn on_deadline(&mut self, now: Duration) -> Output {
        if self.silences >= MAX_SILENCES {
            return Output::End(Ending::Silent(self.acked_bytes()));
        }
        self.silences += 1;
        self.resend(now)
    }

    fn on_ack(&mut self, now: Duration, number: u16) -> Output {
        if self.option_ack.is_some() {
            // Only block 0 answers the options (RFC 2347).
            if number != 0 {
                return Output::Wait;
            }
            self.option_ack = None;
            self.silences = 0;
            return self.send_window(now);
        }
        // Distance on the circle of block numbers, from what is acknowledged to this.
        let advance = u64::from(number.wrapping_sub(wire(self.acked)));
        if advance == 0 {
            return self.on_repeated_ack(now);
        }
        if advance > self.sent - self.acked {
            return Output::Wait;
        }
        self.acked += advance;
        self.silences = 0;
        if self.acked == self.last_block() {
            return Output::End(Ending::Complete);
        }
        self.send_window(now)
    }

    /// An acknowledgement that says nothing new. With one block a window it is never answered, or
    /// one duplicate would double every packet that follows (the "Sorcerer's Apprentice" fault).
    /// With more it is also how a client says that the first block of a window was lost (RFC 7440,
    /// 4): answered once, and not again right after such a resend, whose echo it may be.
    fn on_repeated_ack(&mut self, now: Duration) -> Output {
        let echo = self.resent_at.is_some_and(|at| self.acked - at <= u64::from(self.window));
        if self.window == 1 || echo {
            return Output::Wait;
        }
        self.resent_at = Some(self.acked);
        self.send_window(now)
    }

    fn resend(&mut self, now: Duration) -> Output {
        match &self.option_ack {
            Some(packet) => {
                let packet = packet.clone();
                self.arm(now);
                Output::Packet(packet)
            }
            None => self.send_window(now),
        }
    }

    fn send_window(&mut self, now: Duration) -> Output {
        self.arm(now);
        let left = self.last_block() - self.acked;
        let blocks = u16::try_from(left).map_or(self.window, |left| left.min(self.window));
        self.sent = self.acked + u64::from(blocks);
        let offset = self.acked * u64::from(self.block_size);
        let end = (self.sent * u64::from(self.block_size)).min(self.size);
        Output::Blocks(Window {
            first_block: wire(self.acked + 1),
            offset,
            length: end - offset,
            blocks,
            block_size: self.block_size,
        })
    }

    fn arm(&mut self, now: Duration) {
        let timeout = self
            .fixed_timeout
            .unwrap_or_else(|| FIRST_TIMEOUT.saturating_mul(1 << self.silences.min(8)).min(LAST_TIMEOUT));
        self.deadline = now + timeout;
    }

    /// Number of the last block, counted without wrap-around. A file whose size is a multiple of
    /// the block size ends with an empty block.
    fn last_block(&self) -> u64 {
        self.size / u64::from(self.block_size) + 1
    }
}

/// A block's number on the wire.
fn wire(block: u64) -> u16 {
    (block & 0xffff) as u16
}

/// Acknowledges the options that were asked for, and only those; `None` if there were none.
fn encode_option_ack(
    options: RequestedOptions,
    block_size: Option<u16>,
    window: Option<u16>,
    size: u64,
) -> Option<Vec<u8>> {
    let mut bytes = OPCODE_OACK.to_be_bytes().to_vec();
    let mut add = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            bytes.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
    };
    add("blksize", block_size.map(u64::from));
    add("windowsize", window.map(u64::from));
    add("timeout", options.timeout.map(u64::from));
    add("tsize", options.size.then_some(size));
    (bytes.len() > 2).then_some(bytes)
}
