//! Runs one card: switch on, wait for a cable, DHCP, keep the lease.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use meadow_networkd::vlan_name;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::fixed::FixedNetwork;
use super::packet_socket::PacketSocket;
use super::rtnetlink::Rtnetlink;
use super::{Network, facts};
use crate::boot_log::BootLog;
use crate::dhcp::{Client, Lease, Mac, Output, Reply};
use crate::system::{random_seed, uptime};

/// How often to look whether a cable was plugged in.
const CARRIER_STEP: Duration = Duration::from_millis(100);
/// How often to look whether the cable is still there, or somebody wants something.
const IDLE_STEP: Duration = Duration::from_secs(1);
/// Packets handled before looking at the clock again, so that a flood cannot starve timers.
const BURST: usize = 32;

struct Card<'a> {
    name: &'a str,
    index: u32,
    kernel: Rtnetlink,
    socket: PacketSocket,
    client: Client,
    lease: Option<Lease>,
    carrier: bool,
    mac: Mac,
    /// It has done what it was told, if it was told anything.
    told: bool,
    /// Only what it was told is in use: no DHCP here.
    fixed: bool,
    network: &'a Arc<Network>,
    log: &'a Arc<BootLog>,
}

/// Serves a card until it is unplugged from the machine, or the booted system takes it over.
pub(super) fn run(name: &str, index: u32, mac: Mac, network: &Arc<Network>, log: &Arc<BootLog>) -> anyhow::Result<()> {
    let kernel = Rtnetlink::open()?;
    kernel.set_up(index)?;
    let socket = PacketSocket::open(index).context("cannot open a packet socket")?;
    let client = Client::new(mac, random_seed(), uptime());
    let (lease, carrier, told, fixed) = (None, false, false, false);
    let mut card = Card { name, index, kernel, socket, client, lease, carrier, mac, told, fixed, network, log };
    while !network.is_closed() && facts::exists(name, index) {
        card.step()?;
    }
    Ok(())
}

impl Card<'_> {
    fn step(&mut self) -> anyhow::Result<()> {
        self.follow_carrier();
        self.follow_record()?;
        if self.fixed {
            self.wait_idly();
            return Ok(());
        }
        if self.network.take_search_wish(self.name) {
            self.client.search_again(uptime());
        }
        let now = uptime();
        if self.carrier && self.client.deadline() <= now {
            let outputs = self.client.tick(now);
            self.act(outputs)?;
        }
        self.wait();
        for _ in 0..BURST {
            let Ok(Some(received)) = self.socket.receive() else { break };
            // Malformed packets of others are no news.
            if let Ok(reply) = Reply::parse(&received.payload) {
                let outputs = self.client.handle(&reply, received.from, uptime());
                self.act(outputs)?;
            }
        }
        Ok(())
    }

    fn follow_carrier(&mut self) {
        let carrier = facts::has_carrier(self.name);
        if carrier == self.carrier {
            return;
        }
        self.carrier = carrier;
        if carrier {
            // Perhaps another network: ask anew, and keep the address until there is an answer.
            self.client.restart(uptime());
        } else {
            self.log.say(&format!("{}: the cable was unplugged", self.name));
        }
        self.network.update(self.name, self.log, |status| {
            status.carrier = carrier;
            status.server = None;
        });
    }

    /// The node's record or a seed may have come, with addresses or VLANs for this card.
    fn follow_record(&mut self) -> anyhow::Result<()> {
        let networks = self.network.fixed_for(self.name, self.mac);
        if self.told || networks.is_empty() {
            return Ok(());
        }
        let asks_dhcp = networks.iter().any(FixedNetwork::is_plain_dhcp);
        if !asks_dhcp {
            self.drop_lease();
        }
        for network in &networks {
            self.fix(network)?;
        }
        (self.told, self.fixed) = (true, !asks_dhcp);
        self.network.update(self.name, self.log, |status| {
            if !asks_dhcp {
                status.lease = None;
            }
            status.fixed = networks.iter().filter_map(|network| network.address).map(|a| a.text()).collect();
        });
        Ok(())
    }

    fn fix(&self, network: &FixedNetwork) -> anyhow::Result<()> {
        let (name, index) = match network.vlan {
            Some(vlan) => self.vlan(vlan)?,
            None => (self.name.to_owned(), self.index),
        };
        match &network.address {
            Some(address) => {
                self.kernel.fix(index, address)?;
                self.log.fact("network", &format!("{name} {} fixed", address.text()));
            }
            None if network.vlan.is_some() => self.network.take_up_one(name, index, self.mac, self.log),
            None => {}
        }
        Ok(())
    }

    /// The interface of a VLAN on this card.
    fn vlan(&self, vlan: u16) -> anyhow::Result<(String, u32)> {
        let name = vlan_name(self.name, vlan);
        self.kernel.add_vlan(self.index, &name, vlan)?;
        let index = facts::index_of(&name).with_context(|| format!("the interface {name} is gone"))?;
        self.kernel.set_up(index)?;
        Ok((name, index))
    }

    /// Nobody here listens to packets any more; carrier and the card's end are looked for.
    fn wait_idly(&self) {
        let step = if self.carrier { IDLE_STEP } else { CARRIER_STEP };
        std::thread::sleep(step);
    }

    fn wait(&self) {
        let limit = if self.carrier { IDLE_STEP } else { CARRIER_STEP };
        let until = self.client.deadline().saturating_sub(uptime());
        let timeout = if self.carrier { until.min(limit) } else { limit };
        let timeout = Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
        let mut descriptors = [PollFd::new(&self.socket, PollFlags::IN)];
        // An interrupted wait is only a shorter one.
        let _ = poll(&mut descriptors, Some(&timeout));
    }

    fn act(&mut self, outputs: Vec<Output>) -> anyhow::Result<()> {
        for output in outputs {
            match output {
                Output::Send(destination, message) => {
                    // A card without carrier refuses; the client's own timer tries again.
                    let _ = self.socket.send(destination, &message);
                }
                Output::Leased(lease) => self.use_lease(lease)?,
                Output::Lost(why) => {
                    self.log.say(&format!("{}: {why}", self.name));
                    self.drop_lease();
                    self.network.update(self.name, self.log, |status| status.lease = None);
                }
                Output::Server(base) => {
                    self.network.update(self.name, self.log, |status| status.server = Some(base));
                }
                Output::Note(text) => self.log.say(&format!("{}: {text}", self.name)),
            }
        }
        Ok(())
    }

    fn use_lease(&mut self, lease: Lease) -> anyhow::Result<()> {
        let same = self.lease.is_some_and(|old| (old.address, old.prefix_len) == (lease.address, lease.prefix_len));
        if !same {
            self.drop_lease();
        }
        self.kernel.configure(self.index, &lease)?;
        self.lease = Some(lease);
        if !same {
            self.log.fact("network", &format!("{} {}/{}", self.name, lease.address, lease.prefix_len));
        }
        self.network.update(self.name, self.log, |status| status.lease = Some(lease));
        Ok(())
    }

    fn drop_lease(&mut self) {
        if let Some(old) = self.lease.take() {
            // It may have run out and be gone already.
            let _ = self.kernel.deconfigure(self.index, &old);
        }
    }
}
