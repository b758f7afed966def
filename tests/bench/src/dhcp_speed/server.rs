//! The DHCP servers that are compared. Each gives out the same block, to a relay agent only, so that none hears the others.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use meadow_rack::{Rack, paths};
use serde_json::json;

use crate::server::{Server, peer};

/// What is given out.
pub(super) const BLOCK: &str = "10.78.0.0/16";
const POOL: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 78, 1, 0), Ipv4Addr::new(10, 78, 255, 254));
/// The relay agent with the clients behind it, in that block, and its number in the rack's subnet.
pub(super) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
pub(super) const CLIENTS: u8 = 10;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Own,
    Kea,
    Dnsmasq,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Own, Self::Kea, Self::Dnsmasq];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Own => "meadow-pxe",
            Self::Kea => "Kea",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Own => 2,
            Self::Kea => 3,
            Self::Dnsmasq => 4,
        }
    }
}

/// Starts it with a way to the relay agent.
pub(super) fn start(rack: &mut Rack, kind: Kind, peers: &Path) -> Result<Server> {
    let run = rack.run().path().to_owned();
    let subnet = rack.lan().subnet();
    let command = match kind {
        Kind::Own => own(&run, subnet.host(kind.number()))?,
        Kind::Kea => kea(&run, peers)?,
        Kind::Dnsmasq => dnsmasq(&run),
    };
    let server = Server::start(rack, kind.number(), &command)?;
    let way = subnet.host(CLIENTS).to_string();
    server.namespace.ip(&["route", "add", BLOCK, "via", &way])?;
    Ok(server)
}

fn own(run: &Path, address: Ipv4Addr) -> Result<Command> {
    let [a, b, c, _] = address.octets();
    let (file, (first, last)) = (run.join("dhcp-speed.toml"), POOL);
    let text = format!(
        "interface = \"eth0\"\nartifacts = \"{}\"\nlease_file = \"{}\"\n\
         [[dhcp]]\nsubnet = \"{a}.{b}.{c}.0/24\"\npool = \"{a}.{b}.{c}.200-{a}.{b}.{c}.201\"\n\
         [[dhcp]]\nsubnet = \"{BLOCK}\"\npool = \"{first}-{last}\"\n",
        paths::image().display(),
        run.join("own.leases").display(),
    );
    fs::write(&file, text).context("cannot write settings")?;
    let mut command = Command::new(paths::programs().join("meadow-pxe"));
    command.arg("--config").arg(file);
    Ok(command)
}

/// With as many threads as processors, and leases in a file that it does not sync.
fn kea(run: &Path, peers: &Path) -> Result<Command> {
    let (file, (first, last)) = (run.join("kea.json"), POOL);
    let settings = json!({"Dhcp4": {
        "interfaces-config": {"interfaces": ["eth0"], "dhcp-socket-type": "udp"},
        "lease-database": {"type": "memfile", "persist": true, "name": run.join("kea.leases"), "lfc-interval": 0},
        "multi-threading": {"enable-multi-threading": true, "thread-pool-size": 2, "packet-queue-size": 64},
        "valid-lifetime": 43200,
        "subnet4": [{"id": 1, "subnet": BLOCK, "pools": [{"pool": format!("{first} - {last}")}]}],
        "loggers": [{"name": "kea-dhcp4", "severity": "WARN", "output_options": [{"output": "stderr"}]}],
    }});
    fs::write(&file, settings.to_string()).context("cannot write Kea's settings")?;
    let unpacked = peers.join("kea-dhcp4-server");
    let mut command = Command::new(peer(unpacked.join("usr/sbin/kea-dhcp4"))?);
    command.arg("-c").arg(file).env("LD_LIBRARY_PATH", unpacked.join("usr/lib/x86_64-linux-gnu"));
    command.env("KEA_PIDFILE_DIR", run).env("KEA_LOCKFILE_DIR", run);
    Ok(command)
}

/// Without its ping of 3 s before each offer.
fn dnsmasq(run: &Path) -> Command {
    let mut command = Command::new("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--port=0"])
        .args(["--user=root", "--no-ping", "--interface=eth0", "--bind-interfaces", "--dhcp-lease-max=100000"])
        .arg("--quiet-dhcp")
        .arg(format!("--dhcp-range={},{},255.255.0.0,12h", POOL.0, POOL.1))
        .arg(format!("--dhcp-leasefile={}", run.join("dnsmasq.leases").display()));
    command
}
