//! What the boot server cannot serve, and why.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use meadow_netboot::EventKind;
use serde::Serialize;

use crate::culprit::{self, Protocol};
use crate::interface::Link;

/// All codes of problems: each with its meaning and the next step.
pub const PROBLEM_CODES: [(&str, &str, &str); 8] = [
    (
        "pxe.port-taken",
        "another program on this host holds a port of the boot server",
        "stop the program that `meadow pxe status` names, or serve another interface",
    ),
    (
        "pxe.socket",
        "a port cannot be opened or used",
        "read the reason in `meadow pxe status`; the agent needs CAP_NET_RAW and CAP_NET_BIND_SERVICE",
    ),
    (
        "pxe.interface",
        "an interface is not there, is down or has no IPv4 address",
        "plug it in, bring it up or give it an address; it is served then by itself",
    ),
    (
        "pxe.other-dhcp",
        "another DHCP server is on the wire, so Meadow gives out no addresses",
        "switch one of the two off: the other one, or `pxe_dhcp` in /etc/meadow/meadowd.toml",
    ),
    (
        "pxe.other-boot-server",
        "another PXE server is on the wire, and chance decides which of the two a machine takes",
        "switch it off; `meadow pxe status` names its address",
    ),
    (
        "pxe.dhcp-subnet",
        "a subnet of `pxe_dhcp` is on no interface that is served",
        "give an interface an address in it, or correct `pxe_dhcp` in /etc/meadow/meadowd.toml",
    ),
    (
        "pxe.lease-file",
        "leases cannot be kept on the disk, so no address is given out",
        "make room on the disk below /var/lib/meadow, or repair it; it goes on by itself then",
    ),
    (
        "pxe.image",
        "the image that machines boot cannot be read",
        "run `make install`, or name its folder as `image_dir`",
    ),
];

/// Something that is not served now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code, one of [`PROBLEM_CODES`].
    pub code: &'static str,
    /// Reason and next step.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

impl Problem {
    /// How the event log says it.
    pub(crate) fn event(&self) -> EventKind {
        let text = self.text.clone();
        match self.code {
            "pxe.port-taken" | "pxe.other-dhcp" | "pxe.other-boot-server" => EventKind::Conflict { what: text },
            _ => EventKind::Failed { file: String::new(), why: text },
        }
    }

    /// A port that cannot be bound: which, who holds it and what to do.
    pub(crate) fn port(protocol: Protocol, port: u16, link: &Link, error: &io::Error) -> Self {
        let name = match protocol {
            Protocol::Udp => format!("UDP port {port} on {}", link.name),
            Protocol::Tcp => format!("TCP port {port} on {}", link.name),
        };
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                let text = match culprit::holder(protocol, port) {
                    Some(holder) => format!(
                        "{name} is taken by {} (pid {}): stop it (`systemctl status {}` shows its unit) or serve \
                         another interface; it is tried again every 2 s",
                        holder.name, holder.pid, holder.pid
                    ),
                    None => format!(
                        "{name} is taken by another program: `ss -lnp 'sport = {port}'` run by root shows which; \
                         it is tried again every 2 s"
                    ),
                };
                Self { code: "pxe.port-taken", text }
            }
            io::ErrorKind::PermissionDenied => {
                let text = format!(
                    "{name} needs the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW: run this program as root"
                );
                Self { code: "pxe.socket", text }
            }
            _ => {
                let text = format!("{name} cannot be bound: {error}; it is tried again every 2 s");
                Self { code: "pxe.socket", text }
            }
        }
    }

    /// Router solicitations that cannot be answered: machines boot all the same, but later.
    pub(crate) fn router_solicitations(link: &Link, error: &io::Error) -> Self {
        let name = &link.name;
        // sysctl(8) takes a dot for the end of a name, and a VLAN's has one.
        let key = name.replace('.', "/");
        let text = format!(
            "IPv6 router solicitations on {name} cannot be answered ({error}), so machines start up to 20 s later; \
             turn on IPv6 on it: `sysctl net.ipv6.conf.{key}.disable_ipv6=0`, then `ip link set {name} down` and `up`"
        );
        Self { code: "pxe.socket", text }
    }

    /// Full DHCP is wanted, and somebody else gives out addresses.
    pub(crate) fn other_dhcp(name: &str, interface: &str) -> Self {
        let text = format!(
            "another DHCP server, {name}, gives out addresses on {interface}: none are given out from here, only boot \
             files beside it; switch off its DHCP, or take the dhcp settings out here; it is looked for every 30 to 45 s"
        );
        Self { code: "pxe.other-dhcp", text }
    }

    /// An adopted image that some machine is to boot, and cannot.
    pub(crate) fn image(text: String) -> Self {
        Self { code: "pxe.image", text }
    }

    /// Two servers boot machines.
    pub(crate) fn other_boot_server(name: &str, interface: &str) -> Self {
        let text = format!(
            "another PXE server, {name}, boots machines on {interface}, and chance decides which of the two a machine \
             takes: switch off PXE there (dnsmasq: its lines dhcp-boot and pxe-service), or serve another interface here"
        );
        Self { code: "pxe.other-boot-server", text }
    }

    /// Full DHCP is wanted, and no interface has an address in one of the subnets.
    pub(crate) fn dhcp_subnet(own: &[(String, Ipv4Addr)]) -> Self {
        let own: Vec<_> = own.iter().map(|(name, address)| format!("{name} has the address {address}")).collect();
        let text = format!(
            "{}: that is in no subnet of the dhcp settings, so no addresses are given out; correct the subnet, or the \
             interface's address",
            own.join(", ")
        );
        Self { code: "pxe.dhcp-subnet", text }
    }

    /// Leases that cannot be kept.
    pub(crate) fn lease_file(path: &Path, error: &io::Error) -> Self {
        let text = format!(
            "the leases cannot be kept in {} ({error}), so no addresses are given out; make its folder writable and its \
             disk not full, or move the file away if it is no file of leases",
            path.display()
        );
        Self { code: "pxe.lease-file", text }
    }

    /// Nobody can be heard, so nobody knows whether another server is there.
    pub(crate) fn wire(link: &Link, error: &io::Error) -> Self {
        let text = format!(
            "other DHCP servers on {} cannot be seen ({error}), so full DHCP does not begin; run this program as root, \
             or with CAP_NET_RAW",
            link.name
        );
        Self { code: "pxe.socket", text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_made_is_explained() {
        let sources = [include_str!("problem.rs"), include_str!("supervisor.rs")];
        let made = sources.iter().flat_map(|source| source.split("code: \"").skip(1));
        let codes: Vec<&str> =
            made.filter_map(|rest| rest.split('"').next()).filter(|c| c.starts_with("pxe.")).collect();
        assert!(codes.len() > 8, "{codes:?}");
        for code in codes {
            assert!(PROBLEM_CODES.iter().any(|(known, ..)| *known == code), "{code}");
        }
    }
}
