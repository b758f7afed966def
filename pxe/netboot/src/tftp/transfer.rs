//! One transfer to one client.

use std::time::Duration;

use super::output::{Ending, Output, Window};
use super::pace::Pace;
use super::packet::{OPCODE_ACK, OPCODE_ERROR, ReadRequest, encode_option_ack};
use crate::event::printable;

/// Largest block: a full Ethernet frame. Boot ROMs do not put IP fragments together.
pub const MAX_BLOCK_SIZE: u16 = 1468;

/// Largest window; common clients fail above it.
pub const MAX_WINDOW: u16 = 64;

const DEFAULT_BLOCK_SIZE: u16 = 512;

/// How long a client that has asked may stay silent before it is forgotten. Longer than the pause of any firmware between
/// two requests (EDK2 4 s, U-Boot 5 s).
const UNANSWERED: Duration = Duration::from_secs(15);

/// Repeated requests that are answered.
const MAX_REQUESTS: u32 = 8;

/// First wait for an acknowledgement, doubled at each silence.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// How much a client must take in a while: less is no boot, and holds a place that another machine needs.
const LEAST_BYTES: u64 = 8 << 10;
const LEAST_WHILE: Duration = Duration::from_secs(60);

/// Silences in a row before the client is given up.
const MAX_SILENCES: u32 = 6;

/// State of one transfer. Feed it what the client sends and the passing of its deadline.
///
/// Until the client has acknowledged something, nothing is sent but one small packet for each of its requests: the option
/// acknowledgement, or the first block of 512 bytes where it asked for no options. So nobody whose address was forged is
/// flooded.
#[derive(Debug)]
pub struct Transfer {
    size: u64,
    block_size: u16,
    window: u16,
    fixed_timeout: Option<Duration>,
    option_ack: Option<Vec<u8>>,
    pace: Pace,
    /// Whether the client has acknowledged anything, so that its address is not forged.
    is_answered: bool,
    /// Requests beside the first one.
    requests: u32,
    /// Blocks acknowledged in order, counted without wrap-around.
    acked: u64,
    /// Highest block sent.
    sent: u64,
    /// Last block of the window that is being sent.
    window_end: u64,
    /// When the last burst, or the only packet, left, and the block before its first one.
    burst_at: Duration,
    burst_from: u64,
    /// Whether something was sent twice, so that nobody knows which copy is acknowledged.
    is_ambiguous: bool,
    /// Whether the last block of this window was already sent again to ask after the acknowledgement.
    is_probed: bool,
    deadline: Duration,
    /// When the client is asked again or given up, whatever is sent before.
    patience_ends: Duration,
    silences: u32,
    /// The count of acknowledged blocks behind which a repeated acknowledgement may be the echo of what was sent twice.
    resent_at: Option<u64>,
    resent_windows: u64,
    /// When it was last looked at whether the client is too slow, and what it had then.
    measured: (Duration, u64),
    /// Whether the request asked for the size, which may be all that the client wants.
    asks_size: bool,
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
            pace: Pace::new(window.unwrap_or(1)),
            is_answered: false,
            requests: 0,
            acked: 0,
            sent: 0,
            window_end: 0,
            burst_at: now,
            burst_from: 0,
            is_ambiguous: false,
            is_probed: false,
            deadline: now,
            patience_ends: now,
            silences: 0,
            resent_at: None,
            resent_windows: 0,
            measured: (now, 0),
            asks_size: options.size,
        };
        let output = transfer.first_answer(now);
        (transfer, output)
    }

    /// When [`Self::on_deadline`] is to be called, if nothing came before. Microseconds matter between two bursts of a
    /// window.
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

    /// Whether the client has acknowledged anything: it is where it says.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Whether the last block was sent to a client that has answered, so that no more than its last acknowledgement may be
    /// missing.
    #[must_use]
    pub fn is_all_sent(&self) -> bool {
        self.is_answered && self.option_ack.is_none() && self.sent == self.last_block()
    }

    /// Windows that were sent again, in whole or from a gap on.
    #[must_use]
    pub fn resent_windows(&self) -> u64 {
        self.resent_windows
    }

    /// The client sent its request again: the answer to it was lost, or is still under way.
    pub fn on_request_again(&mut self, now: Duration) -> Output {
        if self.is_answered || self.requests >= MAX_REQUESTS {
            return Output::Wait;
        }
        self.requests += 1;
        self.is_ambiguous = true;
        self.sent = 0;
        self.first_answer(now)
    }

    /// The client sent a datagram to this transfer's port. Anything but an acknowledgement or an
    /// error is dropped.
    pub fn on_datagram(&mut self, now: Duration, datagram: &[u8]) -> Output {
        let [high, low, value_high, value_low, rest @ ..] = datagram else { return Output::Wait };
        let value = u16::from_be_bytes([*value_high, *value_low]);
        match u16::from_be_bytes([*high, *low]) {
            OPCODE_ACK => self.on_ack(now, value),
            OPCODE_ERROR if self.is_probe(value) => Output::End(Ending::Probed),
            OPCODE_ERROR => {
                let text = rest.split(|&b| b == 0).next().unwrap_or_default();
                Output::End(Ending::ClientError(format!("code {value} {}", printable(text, 80)).trim_end().to_owned()))
            }
            _ => Output::Wait,
        }
    }

    /// Whether an error with this code says that the client has what it wanted, the size: EDK2 sends 8, others 0.
    fn is_probe(&self, code: u16) -> bool {
        self.asks_size && self.acked == 0 && self.option_ack.is_some() && matches!(code, 0 | 8)
    }

    /// The deadline passed without progress.
    pub fn on_deadline(&mut self, now: Duration) -> Output {
        if now < self.deadline {
            return Output::Wait;
        }
        if !self.is_answered {
            return Output::End(Ending::Silent(0));
        }
        if self.sent < self.window_end {
            return self.send_burst(now);
        }
        if now < self.patience_ends {
            return self.probe();
        }
        if self.silences >= MAX_SILENCES {
            let ending = if self.is_all_sent() { Ending::Unconfirmed } else { Ending::Silent(self.acked_bytes()) };
            return Output::End(ending);
        }
        self.silences += 1;
        self.send_window_again(now)
    }

    /// The one packet that an unknown source gets for its request.
    fn first_answer(&mut self, now: Duration) -> Output {
        let output = match &self.option_ack {
            Some(packet) => Output::Packet(packet.clone()),
            None => {
                self.window_end = 1;
                self.send_burst(now)
            }
        };
        self.patience_ends = now + UNANSWERED;
        self.deadline = self.patience_ends;
        output
    }

    fn on_ack(&mut self, now: Duration, number: u16) -> Output {
        if self.option_ack.is_some() {
            // Only block 0 answers the options (RFC 2347).
            if number != 0 {
                return Output::Wait;
            }
            self.option_ack = None;
            self.progress(now, 0);
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
        // Of a window in several bursts only its end tells how long the client took, namely for the last one.
        let is_timed = self.acked == self.burst_from || self.acked + advance == self.window_end;
        self.is_ambiguous |= !is_timed;
        self.acked += advance;
        if self.is_probed {
            // The client may say the same to the block that was sent to ask.
            self.resent_at = Some(self.acked);
        }
        self.progress(now, self.acked.saturating_sub(self.burst_from));
        if self.acked == self.last_block() {
            return Output::End(Ending::Complete);
        }
        if self.is_too_slow(now) {
            return Output::End(Ending::Slow(self.acked_bytes()));
        }
        if self.acked < self.window_end {
            // Also while the rest of the window has not left yet: the client misses what was sent.
            self.pace.on_loss();
            self.resent_windows += 1;
        } else {
            self.pace.on_clean();
        }
        self.send_window(now)
    }

    fn is_too_slow(&mut self, now: Duration) -> bool {
        let (since, bytes) = self.measured;
        if now.saturating_sub(since) < LEAST_WHILE {
            return false;
        }
        self.measured = (now, self.acked_bytes());
        self.acked_bytes() - bytes < LEAST_BYTES
    }

    /// The client has answered, having taken this many blocks of the last burst.
    fn progress(&mut self, now: Duration, blocks: u64) {
        self.is_answered = true;
        self.silences = 0;
        if !self.is_ambiguous {
            self.pace.on_answer(now.saturating_sub(self.burst_at), blocks);
        }
    }

    /// An acknowledgement that says nothing new. With one block a window it is never answered, or
    /// one duplicate would double every packet that follows (the "Sorcerer's Apprentice" fault).
    /// With more it is also how a client says that the first block of a window was lost (RFC 7440,
    /// 4): answered once, and not again right after such a resend, whose echo it may be.
    fn on_repeated_ack(&mut self, now: Duration) -> Output {
        let echo = self.resent_at.is_some_and(|at| self.acked - at <= u64::from(self.window));
        if self.window == 1 || echo || !self.is_answered {
            return Output::Wait;
        }
        self.resent_at = Some(self.acked);
        self.pace.on_loss();
        self.send_window_again(now)
    }

    fn send_window_again(&mut self, now: Duration) -> Output {
        self.resent_windows += 1;
        let output = self.send_window(now);
        self.is_ambiguous = true;
        output
    }

    fn send_window(&mut self, now: Duration) -> Output {
        let left = self.last_block() - self.acked;
        self.window_end = self.acked + left.min(u64::from(self.window));
        self.sent = self.acked;
        self.is_probed = false;
        self.is_ambiguous = false;
        self.send_burst(now)
    }

    /// Sends the next blocks of the window.
    fn send_burst(&mut self, now: Duration) -> Output {
        let first = self.sent;
        let left = self.window_end - first;
        let blocks = u16::try_from(left).map_or(self.window, |left| left.min(self.pace.burst()));
        // A pause that is not worth waiting for makes one burst of all.
        let pause = self.pace.pause();
        let blocks = if pause.is_zero() { u16::try_from(left).unwrap_or(blocks) } else { blocks };
        self.sent = first + u64::from(blocks);
        (self.burst_at, self.burst_from) = (now, first);
        self.arm(now, pause);
        self.blocks(first, blocks)
    }

    /// These blocks of the file, the first one behind `before` others.
    fn blocks(&self, before: u64, blocks: u16) -> Output {
        let offset = before * u64::from(self.block_size);
        let end = ((before + u64::from(blocks)) * u64::from(self.block_size)).min(self.size);
        Output::Blocks(Window {
            first_block: wire(before + 1),
            offset,
            length: end - offset,
            blocks,
            block_size: self.block_size,
        })
    }

    /// Sends the window's last block once more, long before the client is taken for silent: its acknowledgement was
    /// lost, or that block, which no later one gives away. The client acknowledges what it has.
    fn probe(&mut self) -> Output {
        self.is_probed = true;
        self.is_ambiguous = true;
        self.deadline = self.patience_ends;
        self.blocks(self.sent - 1, 1)
    }

    fn arm(&mut self, now: Duration, pause: Duration) {
        let timeout = self
            .fixed_timeout
            .unwrap_or_else(|| FIRST_TIMEOUT.saturating_mul(1 << self.silences.min(8)).min(LAST_TIMEOUT));
        self.patience_ends = now + timeout;
        self.deadline = if self.sent < self.window_end {
            now + pause
        } else {
            let probe = self.pace.probe_after().filter(|_| !self.is_probed && self.silences == 0);
            self.patience_ends.min(probe.map_or(self.patience_ends, |probe| now + probe))
        };
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
