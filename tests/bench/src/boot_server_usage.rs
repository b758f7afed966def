//! Resident memory of `meadow-pxe` beside dnsmasq as a boot server, idle and under many downloads.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::namespace::Namespace;
use meadow_rack::progress::Progress;
use meadow_rack::{Rack, RackConfig, paths};

use crate::downloads::{self, Clients};
use crate::measure::{LEAST_ROUNDS, Measure};
use crate::process_usage::Process;
use crate::tftp_client::Wishes;

/// Clients at once, with the numbers of their addresses from here on.
const CLIENTS: usize = 50;
const FIRST_CLIENT: u8 = 100;
/// As iPXE and recent firmware ask.
const WISHES: Wishes = Wishes { block: 1428, window: 16 };
/// The last artifact that is checked before it is served.
const GREATEST: &str = "root.img";

/// A server and how to watch it.
struct Server {
    name: &'static str,
    address: Ipv4Addr,
    process: Process,
}

/// Both in one LAN, one after the other in every round.
///
/// # Errors
/// When a program or a download fails.
pub(crate) fn measure(rounds: u32, progress: &mut Progress) -> Result<Vec<Measure>> {
    let rounds = rounds.max(LEAST_ROUNDS);
    let mut rack = Rack::build(&RackConfig { firmware: Vec::new(), memory_mib: 0 })?;
    let image = paths::image().canonicalize().context("there is no image; `make image` builds it")?;
    let subnet = rack.lan().subnet();
    let addresses = (FIRST_CLIENT..).take(CLIENTS).map(|number| subnet.host(number)).collect();
    let clients = Clients::create(rack.computer_at("client", 4)?, addresses, 24)?;

    let (namespace, address) = (rack.computer_at("seed", 2)?, subnet.host(2));
    let settings = format!("interface = \"eth0\"\nartifacts = \"{}\"\n", image.display());
    let _server = BootServer::start(rack.parts().0, &namespace, &settings)?;
    downloads::wait_served(&namespace, address, GREATEST)?;
    let own = Server { name: "meadow-pxe", address, process: Process::find(&namespace, "meadow-pxe")? };

    let (namespace, address) = (rack.computer_at("peer", 3)?, subnet.host(3));
    let (command, log) = (dnsmasq(&namespace, address, &image), rack.run().file("peer.log"));
    let _peer = namespace.start(rack.parts().0, command, &log)?;
    clients
        .over_tftp(1, address, "ipxe/undionly.kpxe", WISHES)
        .into_iter()
        .collect::<Result<Vec<_>>>()
        .context("dnsmasq does not serve")?;
    let peer = Server { name: "dnsmasq", address, process: Process::find(&namespace, "dnsmasq")? };

    let mut measures = Vec::new();
    for server in [&own, &peer] {
        let memory = server.process.memory()?;
        measures.push(Measure::single(format!("{} idle: resident (VmRSS)", server.name), "MiB", memory.resident));
        measures.push(Measure::single(format!("{} idle: anonymous (RssAnon)", server.name), "MiB", memory.anonymous));
    }
    let mut loads =
        [(&own, Protocol::Http, Vec::new()), (&own, Protocol::Tftp, Vec::new()), (&peer, Protocol::Tftp, Vec::new())];
    for round in 1..=rounds {
        progress.line(&format!("{CLIENTS} downloads at once, round {round} of {rounds}"));
        for (server, protocol, peaks) in &mut loads {
            peaks.push(server.peak_under(*protocol, &clients)?);
        }
    }
    measures.extend(loads.into_iter().map(|(server, protocol, peaks)| {
        let name = format!("{}: peak (VmHWM) during {CLIENTS} downloads, {}", server.name, protocol.label());
        Measure::rounds(name, "MiB", peaks)
    }));
    Ok(measures)
}

/// How the clients download.
#[derive(Clone, Copy)]
enum Protocol {
    Http,
    Tftp,
}

impl Protocol {
    fn artifact(self) -> &'static str {
        match self {
            Self::Http => "root.img",
            Self::Tftp => "vmlinuz",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tftp => "TFTP",
        }
    }
}

impl Server {
    /// The peak of its resident memory while many clients download at once.
    fn peak_under(&self, protocol: Protocol, clients: &Clients) -> Result<f64> {
        self.process.reset_peak()?;
        let name = protocol.artifact();
        let received = match protocol {
            Protocol::Http => clients.over_http(CLIENTS, self.address, name, 1).into_iter().sum::<Result<u64>>(),
            Protocol::Tftp => clients
                .over_tftp(CLIENTS, self.address, name, WISHES)
                .into_iter()
                .map(|download| download.map(|download| download.bytes))
                .sum(),
        };
        let received = received.with_context(|| format!("downloads of {name} from {}", self.name))?;
        let wanted = u64::try_from(CLIENTS)? * paths::image().join(name).metadata()?.len();
        ensure!(received >= wanted, "{} sent {received} of {wanted} bytes", self.name);
        Ok(self.process.memory()?.peak)
    }
}

/// dnsmasq as proxyDHCP and TFTP server for the same files.
fn dnsmasq(namespace: &Namespace, address: Ipv4Addr, image: &Path) -> Command {
    let mut command = namespace.command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--port=0"])
        .args(["--interface=eth0", "--bind-interfaces", "--user=root", "--enable-tftp"])
        .args(["--pxe-service=x86PC,Meadow,ipxe/undionly"])
        .arg(format!("--dhcp-range={address},proxy"))
        .arg(format!("--tftp-root={}", image.display()));
    command
}
