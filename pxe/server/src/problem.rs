//! What the boot server cannot serve, and why.

use std::io;

use serde::Serialize;

use crate::culprit::{self, Protocol};
use crate::interface::Link;

/// Something that is not served now, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable code: `pxe.port-taken`, `pxe.socket`, `pxe.interface`.
    pub code: &'static str,
    /// Reason and next step.
    pub text: String,
}

impl Problem {
    /// A port that cannot be bound: which, who holds it and what to do.
    pub(crate) fn port(protocol: Protocol, port: u16, error: &io::Error) -> Self {
        let name = match protocol {
            Protocol::Udp => format!("UDP port {port}"),
            Protocol::Tcp => format!("TCP port {port}"),
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
        let text = format!(
            "IPv6 router solicitations on {name} cannot be answered ({error}), so machines start up to 20 s later; \
             turn on IPv6 on it: `sysctl net.ipv6.conf.{name}.disable_ipv6=0`, then `ip link set {name} down` and `up`"
        );
        Self { code: "pxe.socket", text }
    }
}
