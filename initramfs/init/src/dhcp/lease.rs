//! The address that a server lent us.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Reply;

/// Shorter leases are stretched to this, or renewing would be all we do.
const SHORTEST: u32 = 30;
/// What to assume where a server breaks RFC 2131 §3.1 and names no lease time.
const UNNAMED: u32 = 3600;

/// An address, with how long it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: Ipv4Addr,
    /// Length of the network prefix in bits.
    pub prefix_len: u8,
    /// Where everything else goes.
    pub router: Option<Ipv4Addr>,
    /// The server that lends it.
    pub server: Ipv4Addr,
    /// Lifetime; `None` is for ever.
    pub lifetime: Option<Duration>,
    /// When to ask the server for more (T1).
    pub renew: Duration,
    /// When to ask any server (T2).
    pub rebind: Duration,
}

impl Lease {
    /// What an OFFER or ACK lends; `None` if it lends nothing that can be used.
    #[must_use]
    pub fn from_reply(reply: &Reply) -> Option<Self> {
        let address = reply.yiaddr;
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
            return None;
        }
        let secs = reply.lease_secs.unwrap_or(UNNAMED).max(SHORTEST);
        let share = |eighths: u64| Duration::from_millis(u64::from(secs) * 125 * eighths);
        // RFC 2131 §4.4.5: T1 defaults to half and T2 to 7/8 of the lease, T1 < T2 < lease.
        let named = reply.renew_secs.zip(reply.rebind_secs);
        let (renew, rebind) = match named {
            Some((t1, t2)) if t1 > 0 && t1 < t2 && t2 < secs => {
                (Duration::from_secs(t1.into()), Duration::from_secs(t2.into()))
            }
            _ => (share(4), share(7)),
        };
        Some(Self {
            address,
            prefix_len: reply.prefix_len.unwrap_or_else(|| classful(address)),
            router: reply.router,
            server: reply.server?,
            lifetime: (secs != u32::MAX).then(|| Duration::from_secs(secs.into())),
            renew,
            rebind,
        })
    }
}

/// The prefix length of an address without a mask (RFC 950 §2.1).
fn classful(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192.. => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::reply::tests::packet;

    fn lease(yiaddr: [u8; 4], options: &[&[u8]]) -> Option<Lease> {
        let mut all: Vec<&[u8]> = vec![&[53, 1, 5, 54, 4, 10, 0, 0, 1]];
        all.extend_from_slice(options);
        Lease::from_reply(&Reply::parse(&packet(1, yiaddr, [0; 6], &all)).unwrap())
    }

    #[test]
    fn timers_default_to_half_and_seven_eighths() {
        let lease = lease([10, 0, 0, 9], &[&[51, 4, 0, 0, 0, 80]]).unwrap();
        assert_eq!(lease.renew, Duration::from_secs(40));
        assert_eq!(lease.rebind, Duration::from_secs(70));
        assert_eq!(lease.lifetime, Some(Duration::from_secs(80)));
        assert_eq!(lease.prefix_len, 8);
    }

    #[test]
    fn timers_out_of_order_are_not_believed() {
        let lease =
            lease([10, 0, 0, 9], &[&[51, 4, 0, 0, 0, 80], &[58, 4, 0, 0, 0, 90], &[59, 4, 0, 0, 0, 10]]).unwrap();
        assert_eq!(lease.renew, Duration::from_secs(40));
    }

    #[test]
    fn short_and_endless_leases() {
        assert_eq!(lease([10, 0, 0, 9], &[&[51, 4, 0, 0, 0, 0]]).unwrap().lifetime, Some(Duration::from_secs(30)));
        assert_eq!(lease([10, 0, 0, 9], &[&[51, 4, 255, 255, 255, 255]]).unwrap().lifetime, None);
        assert_eq!(lease([10, 0, 0, 9], &[]).unwrap().lifetime, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn addresses_that_nobody_can_have_are_refused() {
        for address in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
            assert_eq!(lease(address, &[]), None);
        }
    }
}
