//! The IPv4 network of a rack.

use std::fmt;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

/// `10.77.<n>.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet(u8);

#[derive(Deserialize)]
struct Route {
    dst: String,
}

impl Subnet {
    /// Picks one that overlaps no route of the host. It lives in namespaces only, but a person who reads an address
    /// should not have to ask which network is meant.
    ///
    /// # Errors
    /// When the host's routes cannot be read or all are taken.
    pub fn choose() -> Result<Self> {
        Self::choose_other(&[])
    }

    /// As [`Subnet::choose`], and none of these.
    ///
    /// # Errors
    /// When the host's routes cannot be read or all are taken.
    pub fn choose_other(others: &[Self]) -> Result<Self> {
        let output = Command::new("ip")
            .args(["-4", "-j", "route", "show", "table", "all"])
            .output()
            .context("cannot run ip(8)")?;
        let routes: Vec<Route> = serde_json::from_slice(&output.stdout).context("ip(8) gave no JSON")?;
        let others = others.iter().map(|subnet| (u32::from(subnet.host(0)), u32::from(subnet.host(255))));
        let taken: Vec<(u32, u32)> = routes.iter().filter_map(|route| range(&route.dst)).chain(others).collect();
        Self::choose_beside(&taken).context("the host has routes to all of 10.77.0.0/16")
    }

    fn choose_beside(taken: &[(u32, u32)]) -> Option<Self> {
        (0..=255).map(Self).find(|subnet| {
            let (first, last) = (u32::from(subnet.host(0)), u32::from(subnet.host(255)));
            !taken.iter().any(|(start, end)| *start <= last && first <= *end)
        })
    }

    /// An address in it.
    #[must_use]
    pub fn host(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.0, number)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/24", self.host(0))
    }
}

/// First and last address of a route's destination. The default route covers everything and takes nothing away.
fn range(destination: &str) -> Option<(u32, u32)> {
    let (address, bits) = destination.split_once('/').unwrap_or((destination, "32"));
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    let bits: u32 = bits.parse().ok()?;
    let size = u32::MAX.checked_shr(bits).unwrap_or(0);
    (bits > 0).then_some((address & !size, address | size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_routes_are_avoided() {
        let taken = |routes: &[&str]| routes.iter().filter_map(|route| range(route)).collect::<Vec<_>>();
        for (routes, chosen) in [
            (&["default", "0.0.0.0/0", "192.0.2.0/24"][..], Some(Subnet(0))),
            (&["10.77.0.0/24", "10.77.1.7"], Some(Subnet(2))),
            (&["10.77.0.0/17"], Some(Subnet(128))),
            (&["10.0.0.0/8"], None),
        ] {
            assert_eq!(Subnet::choose_beside(&taken(routes)), chosen, "{routes:?}");
        }
    }
}
