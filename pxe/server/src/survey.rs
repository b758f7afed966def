//! A look at an interface before anything is served there: who else serves, which ports are taken, is there a firewall.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use meadow_model::MacAddress;
use nix::net::if_::if_nametoindex;
use tokio::time::Instant;

use crate::config::Ports;
use crate::culprit::Protocol;
use crate::interface::{self, Link};
use crate::other_servers::OtherServers;
use crate::problem::Problem;
use crate::udp::UdpPort;
use crate::wire::{AGAIN, LISTEN, Wire};

/// How long [`survey`] takes.
pub const SURVEY: Duration = LISTEN;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Who answered.
    pub servers: Vec<HeardServer>,
    /// Ports that the boot server needs and cannot have, with who holds them.
    pub problems: Vec<Problem>,
}

/// A server on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardServer {
    /// Its address.
    pub address: Ipv4Addr,
    /// The card that it spoke from.
    pub mac: Option<MacAddress>,
    /// Whether it gives out addresses.
    pub leases: bool,
    /// Whether it boots machines.
    pub boots: bool,
}

impl Survey {
    /// Whether somebody gives out addresses.
    #[must_use]
    pub fn has_leases(&self) -> bool {
        self.servers.iter().any(|server| server.leases)
    }
}

/// Asks on an interface who serves, and listens for [`SURVEY`]. No lease comes of it. Needs a tokio runtime.
///
/// # Errors
/// Where the interface is not up, or packets cannot be sent there.
pub async fn survey(interface: &str) -> std::io::Result<Survey> {
    let link = match interface::find(interface) {
        Ok(link) => link,
        // It may get its address from the very server that is looked for.
        Err(interface::NotReady::NoAddress(name)) => {
            let index = if_nametoindex(interface)?;
            Link { name, index, address: Ipv4Addr::UNSPECIFIED, networks: Vec::new() }
        }
        Err(error) => return Err(std::io::Error::other(error)),
    };
    let wire = Wire::open(&link)?;
    let mut others = OtherServers::default();
    let mut until = Instant::now();
    for (xid, wait) in [(0x4d65_6164, AGAIN), (0x4d65_6174, LISTEN.saturating_sub(AGAIN))] {
        wire.send_probes(xid, true).await?;
        until += wait;
        while let Ok((server, mac)) = tokio::time::timeout_at(until, wire.hear()).await {
            others.hear(Duration::ZERO, server, mac);
        }
    }
    Ok(Survey { servers: others.list(), problems: taken(&link) })
}

/// What the boot server would say of its ports.
fn taken(link: &Link) -> Vec<Problem> {
    let ports = Ports::default();
    let udp = [ports.dhcp, ports.boot_server, ports.tftp].into_iter().filter_map(|port| {
        let error = UdpPort::bind(link, port).err()?;
        Some(Problem::port(Protocol::Udp, port, link, &error))
    });
    let http = TcpListener::bind((link.address, ports.http)).err();
    udp.chain(http.map(|error| Problem::port(Protocol::Tcp, ports.http, link, &error))).collect()
}

/// What a packet filter of this computer may keep away from the boot server, as far as nft(8) tells; `None` where it has
/// none that drops, or does not tell.
#[must_use]
pub fn firewall() -> Option<String> {
    let listed = Command::new("nft").args(["list", "chains"]).output().ok().filter(|output| output.status.success())?;
    let chains = String::from_utf8_lossy(&listed.stdout);
    let name = drops(&chains)?;
    let ports = Ports::default();
    Some(format!(
        "a packet filter of this computer (table {name}) drops what it does not know: let UDP {}, {} and {} and TCP {} in",
        ports.dhcp, ports.tftp, ports.boot_server, ports.http
    ))
}

/// The table whose chain for incoming packets drops by default, or that is firewalld's, whose last rule does.
fn drops(chains: &str) -> Option<&str> {
    let mut table = "";
    for line in chains.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("table ") {
            table = name.trim_end_matches('{').trim();
            if table == "inet firewalld" {
                return Some(table);
            }
        }
        if line.contains("hook input") && line.contains("policy drop") {
            return Some(table);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_drops_is_told_from_one_that_lets_in() {
        let open = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n";
        assert_eq!(drops(open), None);
        assert_eq!(drops(&open.replace("accept", "drop")), Some("inet filter"));
        let forward = open.replace("hook input", "hook forward").replace("accept", "drop");
        assert_eq!(drops(&forward), None, "what only passes through is not for us");
        assert_eq!(drops("table inet firewalld {\n\tchain filter_INPUT {\n"), Some("inet firewalld"));
    }
}
