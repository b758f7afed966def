//! The DHCP client of one interface: bytes and time in, packets and decisions out.
//!
//! Beside a lease from the home router it looks for the Meadow server, which answers the same
//! DISCOVER like a PXE proxy: an OFFER without an address, vendor class `Meadow:1`, and its base
//! URL in option 67. Time is any clock that only grows, as a [`Duration`].

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Lease, Mac, Reply, ReplyKind, Request, RequestKind};
use crate::backoff::Backoff;
use crate::http::BaseUrl;

/// Option 60 of our requests, and of the answers that are meant for us.
pub const VENDOR_CLASS: &[u8] = b"Meadow:1";

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);
const LONGEST_SEARCH_PAUSE: Duration = Duration::from_secs(30);
/// Unanswered REQUESTs before the offer is forgotten.
const REQUESTS_AN_OFFER: u32 = 4;
/// RFC 2131 §4.4.5: at least a minute between attempts to extend a lease.
const EXTEND_PAUSE: Duration = Duration::from_secs(60);

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// From `0.0.0.0` to everybody.
    Broadcast,
    /// From our address to everybody (REBINDING).
    BroadcastFrom(Ipv4Addr),
    /// From our address to the server that lent it (RENEWING).
    Server {
        /// Our address.
        from: Ipv4Addr,
        /// Its address.
        to: Ipv4Addr,
        /// Where its answers came from on Ethernet: itself, or the relay.
        mac: Mac,
    },
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this DHCP message.
    Send(Destination, Vec<u8>),
    /// Use this lease from now on (new or extended).
    Leased(Lease),
    /// Stop using the address, for this reason.
    Lost(String),
    /// The Meadow server answered.
    Server(BaseUrl),
    /// Worth a line on the console.
    Note(String),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Selecting { xid: u32, backoff: Backoff, attempt: u32, next: Duration },
    Requesting { xid: u32, offer: Lease, attempt: u32, next: Duration },
    Bound { lease: Lease, from: Mac, since: Duration, next: Duration, xid: u32 },
}

/// Looking for the Meadow server while the lease is fine.
#[derive(Clone, Copy, Debug)]
struct Search {
    xid: u32,
    backoff: Backoff,
    next: Duration,
}

/// The state machine. Feed it with [`Client::handle`] and, at [`Client::deadline`], with
/// [`Client::tick`].
#[derive(Debug)]
pub struct Client {
    mac: Mac,
    random: u64,
    began: Duration,
    state: State,
    search: Option<Search>,
    /// The transaction whose late proxy answers still count.
    previous_xid: u32,
    server_known: bool,
}

impl Client {
    /// A client that sends its first DISCOVER at the next tick. `seed` must be random.
    #[must_use]
    pub fn new(mac: Mac, seed: u64, now: Duration) -> Self {
        let mut random = seed | 1;
        let state = selecting(&mut random, now);
        Self { mac, random, began: now, state, search: None, previous_xid: 0, server_known: false }
    }

    /// When [`Client::tick`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let next = match self.state {
            State::Selecting { next, .. } | State::Requesting { next, .. } => next,
            State::Bound { next, .. } => next,
        };
        self.search.map_or(next, |search| next.min(search.next))
    }

    /// Looks for the Meadow server again, at once: the one we knew does not answer.
    pub fn search_again(&mut self, now: Duration) {
        if matches!(self.state, State::Bound { .. }) && self.search.is_none() {
            self.begin_search(now);
        }
        self.server_known = false;
    }

    /// Begins from the start, as after a cable was plugged into perhaps another network.
    pub fn restart(&mut self, now: Duration) {
        self.began = now;
        self.state = selecting(&mut self.random, now);
        self.search = None;
        self.server_known = false;
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        if let Some(search) = self.search.filter(|search| search.next <= now) {
            out.push(self.discover(search.xid, now, false));
            let mut backoff = search.backoff;
            let next = now + self.jitter(backoff.pause());
            self.search = Some(Search { backoff, next, ..search });
        }
        match self.state {
            State::Selecting { xid, mut backoff, attempt, next } if next <= now => {
                // Some networks answer only broadcasts, some only unicasts: take turns.
                out.push(self.discover(xid, now, attempt % 2 == 1));
                let next = now + self.jitter(backoff.pause());
                self.state = State::Selecting { xid, backoff, attempt: attempt + 1, next };
            }
            State::Requesting { xid, offer, attempt, next } if next <= now => {
                if attempt >= REQUESTS_AN_OFFER {
                    out.push(Output::Note(format!("{} offered an address and then fell silent", offer.server)));
                    self.previous_xid = xid;
                    self.state = selecting(&mut self.random, now);
                } else {
                    out.push(self.request(xid, offer, attempt, now));
                }
            }
            State::Bound { lease, from, since, next, xid } if next <= now => {
                self.extend(lease, from, since, xid, now, &mut out);
            }
            _ => {}
        }
        out
    }

    /// Takes in a server's message that came from `from` on Ethernet.
    pub fn handle(&mut self, reply: &Reply, from: Mac, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        if reply.mac != self.mac || !self.knows(reply.xid) {
            return out;
        }
        if let Some(url) = server_url(reply) {
            self.server_known = true;
            self.search = None;
            out.push(Output::Server(url));
        }
        match self.state {
            State::Selecting { xid, .. } if xid == reply.xid && reply.kind == ReplyKind::Offer => {
                if let Some(offer) = Lease::from_reply(reply) {
                    out.push(self.request(xid, offer, 0, now));
                }
            }
            State::Requesting { xid, offer, .. } if xid == reply.xid => match reply.kind {
                ReplyKind::Ack => self.bind(reply, from, now, &mut out),
                ReplyKind::Nak if reply.server.is_none_or(|server| server == offer.server) => {
                    out.push(Output::Note(refusal(reply)));
                    self.state = selecting(&mut self.random, now + FIRST_PAUSE);
                }
                _ => {}
            },
            State::Bound { xid, .. } if xid == reply.xid => match reply.kind {
                ReplyKind::Ack => self.bind(reply, from, now, &mut out),
                ReplyKind::Nak => {
                    out.push(Output::Lost(refusal(reply)));
                    self.restart(now);
                }
                ReplyKind::Offer => {}
            },
            _ => {}
        }
        out
    }

    fn knows(&self, xid: u32) -> bool {
        let current = match self.state {
            State::Selecting { xid, .. } | State::Requesting { xid, .. } | State::Bound { xid, .. } => xid,
        };
        xid == current || xid == self.previous_xid || self.search.is_some_and(|search| search.xid == xid)
    }

    fn bind(&mut self, reply: &Reply, from: Mac, now: Duration, out: &mut Vec<Output>) {
        let Some(lease) = Lease::from_reply(reply) else {
            out.push(Output::Note("a server confirmed a lease that cannot be used".to_owned()));
            return;
        };
        self.previous_xid = reply.xid;
        let xid = next_random(&mut self.random);
        let next = lease.lifetime.map_or(Duration::MAX, |_| now + lease.renew);
        self.state = State::Bound { lease, from, since: now, next, xid };
        if !self.server_known && self.search.is_none() {
            // The proxy may only be slower than the router: give it a moment.
            self.begin_search(now + FIRST_PAUSE);
        }
        out.push(Output::Leased(lease));
    }

    fn begin_search(&mut self, next: Duration) {
        let xid = next_random(&mut self.random);
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_SEARCH_PAUSE);
        self.search = Some(Search { xid, backoff, next });
    }

    fn discover(&self, xid: u32, now: Duration, broadcast: bool) -> Output {
        Output::Send(Destination::Broadcast, self.message(RequestKind::Discover, xid, now, broadcast))
    }

    fn request(&mut self, xid: u32, offer: Lease, attempt: u32, now: Duration) -> Output {
        let next = now + self.jitter(FIRST_PAUSE * 2_u32.pow(attempt.min(4)));
        self.state = State::Requesting { xid, offer, attempt: attempt + 1, next };
        let kind = RequestKind::Select { address: offer.address, server: offer.server };
        Output::Send(Destination::Broadcast, self.message(kind, xid, now, attempt % 2 == 1))
    }

    /// RENEWING, REBINDING and the end of a lease (RFC 2131 §4.4.5).
    fn extend(&mut self, lease: Lease, from: Mac, since: Duration, xid: u32, now: Duration, out: &mut Vec<Output>) {
        let end = since + lease.lifetime.unwrap_or(Duration::MAX / 4);
        if now >= end {
            out.push(Output::Lost("the lease ran out and no server extended it".to_owned()));
            self.restart(now);
            return;
        }
        let rebind = since + lease.rebind;
        let (destination, limit) = if now < rebind {
            (Destination::Server { from: lease.address, to: lease.server, mac: from }, rebind)
        } else {
            (Destination::BroadcastFrom(lease.address), end)
        };
        let message = self.message(RequestKind::Extend { address: lease.address }, xid, now, false);
        out.push(Output::Send(destination, message));
        let next = (now + ((limit - now) / 2).max(EXTEND_PAUSE)).min(limit);
        self.state = State::Bound { lease, from, since, next, xid };
    }

    fn message(&self, kind: RequestKind, xid: u32, now: Duration, broadcast: bool) -> Vec<u8> {
        let secs = u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX);
        Request { kind, xid, secs, broadcast, mac: self.mac }.encode()
    }

    /// ± 10 %, so that a rack that powered on at once does not ask at once for ever.
    fn jitter(&mut self, pause: Duration) -> Duration {
        pause * (90 + next_random(&mut self.random) % 21) / 100
    }
}

fn selecting(random: &mut u64, next: Duration) -> State {
    let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    State::Selecting { xid: next_random(random), backoff, attempt: 0, next }
}

/// The base URL of a Meadow server's answer.
fn server_url(reply: &Reply) -> Option<BaseUrl> {
    if reply.kind == ReplyKind::Nak || reply.vendor_class.as_deref() != Some(VENDOR_CLASS) {
        return None;
    }
    BaseUrl::parse(reply.boot_file.as_deref()?).ok()
}

fn refusal(reply: &Reply) -> String {
    match (&reply.message, reply.server) {
        (Some(message), _) => format!("a DHCP server refused the address: {message}"),
        (None, Some(server)) => format!("the DHCP server {server} refused the address"),
        (None, None) => "a DHCP server refused the address".to_owned(),
    }
}

/// xorshift64*: transaction ids and jitter need no more than to differ between machines.
fn next_random(state: &mut u64) -> u32 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    // The upper half of the product; the cast keeps exactly 32 bits.
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
}

#[cfg(test)]
mod tests;
