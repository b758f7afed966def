//! The other servers on the wire, as far as they are heard.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_netboot::dhcp::OtherServer;

use crate::problem::Problem;
use crate::survey::HeardServer;

/// Servers that are kept; a stranger can make up any number.
const MAX_SERVERS: usize = 16;

/// What was heard, by address.
#[derive(Debug, Default)]
pub(crate) struct OtherServers {
    heard: BTreeMap<Ipv4Addr, Heard>,
}

#[derive(Debug)]
struct Heard {
    mac: Option<MacAddress>,
    leased_at: Option<Duration>,
    booted_at: Option<Duration>,
}

impl OtherServers {
    /// Takes in a packet.
    pub(crate) fn hear(&mut self, now: Duration, server: OtherServer, mac: Option<MacAddress>) {
        if self.heard.len() >= MAX_SERVERS && !self.heard.contains_key(&server.address) {
            return;
        }
        let heard = self.heard.entry(server.address).or_insert(Heard { mac, leased_at: None, booted_at: None });
        heard.mac = mac.or(heard.mac);
        if server.leases {
            heard.leased_at = Some(now);
        }
        if server.boots {
            heard.booted_at = Some(now);
        }
    }

    /// Forgets who did not answer a probe that began then.
    pub(crate) fn forget_before(&mut self, probed: Duration) {
        for heard in self.heard.values_mut() {
            heard.leased_at = heard.leased_at.filter(|at| *at >= probed);
            heard.booted_at = heard.booted_at.filter(|at| *at >= probed);
        }
        self.heard.retain(|_, heard| heard.leased_at.is_some() || heard.booted_at.is_some());
    }

    /// Whether somebody else gives out addresses, and whether somebody else boots machines.
    pub(crate) fn any(&self) -> (bool, bool) {
        let leases = self.heard.values().any(|heard| heard.leased_at.is_some());
        (leases, self.heard.values().any(|heard| heard.booted_at.is_some()))
    }

    /// Everybody who was heard.
    pub(crate) fn list(&self) -> Vec<HeardServer> {
        let server = |(address, heard): (&Ipv4Addr, &Heard)| HeardServer {
            address: *address,
            mac: heard.mac,
            leases: heard.leased_at.is_some(),
            boots: heard.booted_at.is_some(),
        };
        self.heard.iter().map(server).collect()
    }

    /// What a person has to know: that we give out no addresses because of them, or that two boot machines.
    pub(crate) fn problems(&self, interface: &str, is_full: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (address, heard) in &self.heard {
            let name = match heard.mac {
                Some(mac) => format!("{address} ({mac})"),
                None => address.to_string(),
            };
            if is_full && heard.leased_at.is_some() {
                problems.push(Problem::other_dhcp(&name, interface));
            }
            if heard.booted_at.is_some() {
                problems.push(Problem::other_boot_server(&name, interface));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_named_until_a_probe_finds_them_gone() {
        let second = Duration::from_secs;
        let mut others = OtherServers::default();
        let router = OtherServer { address: Ipv4Addr::new(192, 0, 2, 1), leases: true, boots: false };
        let boots = OtherServer { address: Ipv4Addr::new(192, 0, 2, 9), leases: false, boots: true };
        others.hear(second(1), router, Some(MacAddress([2, 0, 0, 0, 0, 1])));
        others.hear(second(5), boots, None);
        assert_eq!(others.any(), (true, true));
        let codes = |others: &OtherServers, is_full| {
            others.problems("eth0", is_full).iter().map(|problem| problem.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(&others, true), ["pxe.other-dhcp", "pxe.other-boot-server"]);
        assert_eq!(codes(&others, false), ["pxe.other-boot-server"], "a router is what a proxy is beside");
        assert!(others.problems("eth0", true)[0].text.contains("192.0.2.1 (02:00:00:00:00:01)"));
        others.forget_before(second(4));
        assert_eq!(others.any(), (false, true));
        for n in 0..=u8::MAX {
            others.hear(second(6), OtherServer { address: Ipv4Addr::new(10, 0, 0, n), ..router }, None);
        }
        assert_eq!(others.heard.len(), MAX_SERVERS);
    }
}
