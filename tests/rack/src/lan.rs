//! The rack's network: a bridge in a namespace of its own, to which everything else is cabled.

use anyhow::Result;

use crate::namespace::{Namespace, ip};
use crate::run_dir::RunDir;
use crate::subnet::Subnet;

/// The bridge.
#[derive(Debug)]
pub struct Lan {
    namespace: Namespace,
    subnet: Subnet,
}

impl Lan {
    /// Makes the namespace with the bridge.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn create(run: &mut RunDir) -> Result<Self> {
        Self::create_as(run, "lan", Subnet::choose()?)
    }

    /// Makes a second LAN that has nothing to do with this one.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn second(&self, run: &mut RunDir) -> Result<Self> {
        Self::create_as(run, "lan2", Subnet::choose_other(&[self.subnet])?)
    }

    fn create_as(run: &mut RunDir, role: &str, subnet: Subnet) -> Result<Self> {
        let namespace = Namespace::create(run, role)?;
        // A port forwards at once: without spanning tree and with no delay.
        namespace.ip(&[
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
            "mcast_snooping",
            "0",
        ])?;
        namespace.ip(&["link", "set", "br0", "up"])?;
        Ok(Self { namespace, subnet })
    }

    /// The namespace in which the machines run.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its addresses.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Makes a computer that is a namespace: one wired interface `eth0`, no address yet.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn computer(&self, run: &mut RunDir, role: &str) -> Result<Namespace> {
        let computer = Namespace::create(run, role)?;
        self.cable(&computer, "eth0", &format!("v-{role}"))?;
        Ok(computer)
    }

    /// Gives a computer, of this LAN or another, one more wired interface with a fixed address in this one.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn plug_in(&self, computer: &Namespace, interface: &str, number: u8) -> Result<()> {
        self.cable(computer, interface, &format!("v-{interface}"))?;
        computer.ip(&["addr", "add", &format!("{}/24", self.subnet.host(number)), "dev", interface])
    }

    fn cable(&self, computer: &Namespace, interface: &str, port: &str) -> Result<()> {
        let lan = self.namespace.name();
        ip(&["-n", lan, "link", "add", port, "type", "veth", "peer", "name", interface, "netns", computer.name()])?;
        self.namespace.ip(&["link", "set", port, "master", "br0", "up"])?;
        computer.ip(&["link", "set", interface, "up"])
    }

    /// As [`Lan::computer`], with a fixed address in the rack's network.
    ///
    /// # Errors
    /// When a link cannot be made.
    pub fn computer_at(&self, run: &mut RunDir, role: &str, number: u8) -> Result<Namespace> {
        let computer = self.computer(run, role)?;
        computer.ip(&["addr", "add", &format!("{}/24", self.subnet.host(number)), "dev", "eth0"])?;
        Ok(computer)
    }

    /// Makes a port for a QEMU machine and gives its name.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn tap(&self, number: usize) -> Result<String> {
        let tap = format!("tap{number}");
        self.namespace.ip(&["tuntap", "add", &tap, "mode", "tap"])?;
        self.namespace.ip(&["link", "set", &tap, "master", "br0", "up"])?;
        Ok(tap)
    }

    /// Plugs or pulls the cable of a port.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn set_cable(&self, port: &str, plugged: bool) -> Result<()> {
        self.namespace.ip(&["link", "set", port, if plugged { "up" } else { "down" }])
    }
}
