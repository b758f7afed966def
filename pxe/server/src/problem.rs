//! What the boot server cannot serve, and why.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use meadow_netboot::EventKind;
use serde::Serialize;

use crate::culprit::{self, Protocol};
use crate::interface::Link;

/// Something that is not served now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code: `pxe.port-taken`, `pxe.socket`, `pxe.interface`, `pxe.other-dhcp`, `pxe.other-boot-server`,
    /// `pxe.dhcp-subnet`, `pxe.lease-file`, `pxe.image`.
    pub code: &'static str,
    /// Reason and next step.
    pub text: String,
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
