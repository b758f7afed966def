//! How fast the blocks of a window leave.
//!
//! A client acknowledges whole windows, so a server cannot send less than a window and wait: what it can choose is in how
//! many bursts a window leaves, and how long it pauses between them. One lost packet is chance, and costs a resend.
//! Losses in a row mean that bursts overrun somebody's buffer on the way: the bursts become shorter, with pauses as long
//! as the client took for that many blocks, and grow again while all arrives.

use std::time::Duration;

/// Losses in a row that mean more than chance.
const PATTERN: u32 = 2;
/// Clean windows before bursts grow; doubled each time that they had grown too far.
const FIRST_PATIENCE: u32 = 4;
const LAST_PATIENCE: u32 = 256;
/// Bursts are not made shorter than this many blocks, or this part of a window.
const SHORTEST_BURST: u16 = 4;
const LEAST_PART: u16 = 8;
/// Shorter pauses are not worth a timer, longer ones would be worse than another loss.
const LEAST_PAUSE: Duration = Duration::from_micros(20);
const GREATEST_PAUSE: Duration = Duration::from_millis(10);
/// A window whose acknowledgement takes this many usual times is asked after, as TCP does (RFC 8985, 7.2). One of 50 windows
/// needs it where 1 of 100 packets is lost, and one block is what asking in vain costs.
const PROBE_TIMES: u32 = 2;
const LEAST_PROBE: Duration = Duration::from_millis(5);

/// Length of bursts, pauses, and when to ask after a lost acknowledgement; learned from the client's answers.
#[derive(Debug)]
pub(super) struct Pace {
    window: u16,
    burst: u16,
    losses: u32,
    clean: u32,
    patience: u32,
    /// The shortest time from a packet to its answer.
    round_trip: Option<Duration>,
    /// What the client takes for one block beside the round trip, smoothed.
    per_block: Duration,
    /// From the last burst to the acknowledgement, smoothed.
    usual: Option<Duration>,
}

impl Pace {
    /// Whole windows at once, until something is lost.
    pub(super) fn new(window: u16) -> Self {
        Self {
            window,
            burst: window,
            losses: 0,
            clean: 0,
            patience: FIRST_PATIENCE,
            round_trip: None,
            per_block: Duration::ZERO,
            usual: None,
        }
    }

    /// How many blocks to send at once.
    pub(super) fn burst(&self) -> u16 {
        self.burst
    }

    /// How long to wait before the next burst of the same window.
    pub(super) fn pause(&self) -> Duration {
        let pause = (self.per_block * u32::from(self.burst)).min(GREATEST_PAUSE);
        if pause < LEAST_PAUSE { Duration::ZERO } else { pause }
    }

    /// When to ask after an acknowledgement that does not come; `None` before the client has answered anything.
    pub(super) fn probe_after(&self) -> Option<Duration> {
        self.usual.map(|usual| (usual * PROBE_TIMES).max(LEAST_PROBE))
    }

    /// The client answered a packet that was sent once: `took` after the burst began to leave, having taken `blocks`.
    pub(super) fn on_answer(&mut self, took: Duration, blocks: u64) {
        let round_trip = self.round_trip.map_or(took, |shortest| shortest.min(took));
        self.round_trip = Some(round_trip);
        self.usual = Some(self.usual.map_or(took, |usual| smooth(usual, took)));
        if let Some(blocks) = u32::try_from(blocks).ok().filter(|&blocks| blocks > 0) {
            let each = took.saturating_sub(round_trip) / blocks;
            self.per_block = if self.per_block.is_zero() { each } else { smooth(self.per_block, each) };
        }
    }

    /// A window was acknowledged whole.
    pub(super) fn on_clean(&mut self) {
        self.losses = 0;
        self.clean += 1;
        if self.burst < self.window && self.clean >= self.patience {
            self.clean = 0;
            self.burst = self.burst.saturating_mul(2).min(self.window);
        }
    }

    /// A block of a window was lost.
    pub(super) fn on_loss(&mut self) {
        self.clean = 0;
        self.losses += 1;
        if self.losses >= PATTERN {
            self.losses = 0;
            let least = SHORTEST_BURST.max(self.window / LEAST_PART).min(self.window);
            self.burst = (self.burst / 2).max(least);
            self.patience = self.patience.saturating_mul(2).min(LAST_PATIENCE);
        }
    }
}

fn smooth(old: Duration, new: Duration) -> Duration {
    (old * 7 + new) / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_loss_is_chance_and_two_shorten_bursts_until_all_arrives() {
        let mut pace = Pace::new(64);
        pace.on_loss();
        pace.on_clean();
        pace.on_loss();
        assert_eq!(pace.burst(), 64);
        pace.on_loss();
        assert_eq!(pace.burst(), 32);
        for _ in 0..20 {
            pace.on_loss();
        }
        assert_eq!(pace.burst(), 8, "never shorter than an eighth of the window");
        for _ in 0..3 * LAST_PATIENCE {
            pace.on_clean();
        }
        assert_eq!(pace.burst(), 64);
    }

    #[test]
    fn pauses_are_as_long_as_the_client_took() {
        let mut pace = Pace::new(64);
        assert_eq!((pace.pause(), pace.probe_after()), (Duration::ZERO, None));
        pace.on_answer(Duration::from_micros(1000), 0);
        pace.on_answer(Duration::from_micros(1640), 64);
        assert_eq!(pace.pause(), Duration::from_micros(640));
        assert_eq!(pace.probe_after(), Some(LEAST_PROBE));
        pace.on_answer(Duration::from_secs(9), 64);
        assert_eq!(pace.pause(), GREATEST_PAUSE);
    }
}
