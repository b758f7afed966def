//! A network behind a relay: a stock dnsmasq passes on what its clients ask.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use meadow_rack::lan::Lan;
use meadow_rack::namespace::Namespace;
use meadow_rack::process::Program;
use meadow_rack::run_dir::RunDir;
use meadow_rack::wait;

use crate::PATIENCE;

/// The network behind the relay: of those that are for documentation (RFC 5737).
const NETWORK: &str = "198.51.100";
/// Last number of the relay's address in the rack's network.
const RELAY: u8 = 7;

/// The relay and a client behind it.
#[derive(Debug)]
pub struct BehindRelay {
    _dnsmasq: Program,
    client: Namespace,
}

impl BehindRelay {
    pub(crate) fn build(run: &mut RunDir, lan: &Lan, server: &Namespace) -> Result<Self> {
        let relay = lan.computer_at(run, "relay", RELAY)?;
        let client = Namespace::create(run, "far")?;
        relay.ip(&["link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", client.name()])?;
        relay.ip(&["addr", "add", &format!("{NETWORK}.1/24"), "dev", "eth1"])?;
        relay.ip(&["link", "set", "eth1", "up"])?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let routes = relay.command("sh").args(["-c", forward]).status().context("cannot run sh")?;
        ensure!(routes.success(), "the relay does not route: {routes}");
        client.ip(&["link", "set", "eth0", "up"])?;
        let (near, own) = (lan.subnet().host(RELAY).to_string(), lan.subnet().host(2));
        server.ip(&["route", "add", &format!("{NETWORK}.0/24"), "via", &near])?;
        let log = run.file("relay.log");
        let mut command = relay.command("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--log-facility=-", "--log-dhcp"])
            .args(["--port=0", "--interface=eth0", "--interface=eth1", "--bind-interfaces"])
            .arg(format!("--dhcp-relay={NETWORK}.1,{own}"));
        let mut dnsmasq = relay.start(run, command, &log)?;
        wait::until("the relay", PATIENCE, || {
            let text = fs::read_to_string(&log)?;
            if let Some(status) = dnsmasq.exited()? {
                bail!("dnsmasq ended ({status}): {text}");
            }
            Ok(text.contains("DHCP relay from").then_some(()))
        })?;
        Ok(Self { _dnsmasq: dnsmasq, client })
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// Gives the client this address, and the relay as its router.
    ///
    /// # Errors
    /// When ip(8) refuses.
    pub fn address_client(&self, address: &str) -> Result<()> {
        self.client.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        self.client.ip(&["route", "add", "default", "via", &self.gateway()])
    }

    /// The client's hardware address.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn client_mac(&self) -> Result<String> {
        let output =
            self.client.command("cat").arg("/sys/class/net/eth0/address").output().context("cannot run cat")?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The relay's address in its client's network.
    #[must_use]
    pub fn gateway(&self) -> String {
        format!("{NETWORK}.1")
    }

    /// Settings of a boot server that gives out addresses of that network, as a table of this name.
    #[must_use]
    pub fn lease_settings(table: &str) -> String {
        format!(
            "[[{table}]]\nsubnet = \"{NETWORK}.0/24\"\npool = \"{NETWORK}.100-{NETWORK}.149\"\nrouter = [\"{NETWORK}.1\"]\n"
        )
    }

    /// The first address of that pool.
    #[must_use]
    pub fn first_address(&self) -> String {
        format!("{NETWORK}.100")
    }
}
