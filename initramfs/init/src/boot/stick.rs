//! A stick: what its seed says.

use std::time::Duration;

use super::Boot;
use super::find_disk::settled;
use super::offered::{LARGEST_SIGNATURE, SIGNATURE};
use crate::disks::{Layout, same_serial, serial, with_serial};
use crate::dropbear::Purpose;
use crate::http::{self, BaseUrl, Route};
use crate::network::Uplink;
use crate::seed::Seed;
use crate::slot::Slot;
use crate::system::{RUN_DIR, uptime, write_private};

/// For a driver that is late, or a cable that is plugged in by and by; the booted system goes on with it in any case.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(10);
/// For a disk that the seed names and that shows itself later than the stick.
const DISK_PATIENCE: Duration = Duration::from_secs(10);
/// How long to look for a Meadow server on the LAN.
const SERVER_PATIENCE: Duration = Duration::from_secs(20);

/// This boot came from a stick.
#[derive(Clone, Debug)]
pub(super) struct Stick {
    /// Whether the image that a server has is to start.
    pub(super) from_network: bool,
    /// GPT UUID of its ESP.
    pub(super) esp: Option<String>,
    /// Where a boot server may be that DHCP does not tell of.
    servers: Vec<BaseUrl>,
}

impl Boot {
    /// A stick that is there to install this computer has done its work once the disk that it names is installed: that disk
    /// comes first then, as if the stick had been pulled. Which slot the stick's boot loader took says nothing of it.
    pub(super) fn past_the_stick(
        &self,
        disks: Vec<Layout>,
        slot: Option<Slot>,
        esp: Option<&str>,
    ) -> (Vec<Layout>, Option<Slot>) {
        let stick = disks.first().filter(|layout| layout.is_stick()).and_then(|layout| layout.seed.as_ref());
        // What is wrong with a seed is said when it is used.
        let seed = stick.and_then(|partition| Seed::read(&partition.path()).ok().flatten());
        let Some(wanted) = seed.and_then(|seed| seed.installs_onto) else { return (disks, slot) };
        let (begin, end) = (uptime(), uptime() + DISK_PATIENCE);
        while with_serial(&wanted).is_empty() && uptime() < end {
            let known = self.arrivals.count();
            self.wait_for_arrival(known, begin, end, || {
                format!("for the disk with the serial number {wanted}, which the stick's seed names")
            });
        }
        let there = with_serial(&wanted).len();
        if there > 1 {
            self.log.say(&format!(
                "{there} disks say that they have the serial number {wanted}, which the stick's seed names: the stick boots; \
                 unplug all but the one that is meant"
            ));
            return (disks, slot);
        }
        let mut disks: Vec<Layout> = settled(esp).into_iter().filter(Layout::has_root).collect();
        let is_wanted = |layout: &Layout| serial(&layout.disk).is_some_and(|found| same_serial(&found, &wanted));
        let Some(place) = disks.iter().position(|layout| layout.has_state() && is_wanted(layout)) else {
            return (disks, slot);
        };
        self.log.say(&format!("this computer is installed on the disk {wanted}, which is tried before the stick"));
        let installed = disks.remove(place);
        disks.insert(0, installed);
        (disks, None)
    }

    /// Does what the seed says before the root starts. Nothing that is wrong with it keeps the stick from booting.
    pub(super) fn use_stick(&mut self, layout: &Layout) {
        let Some(partition) = layout.seed.as_ref().filter(|_| layout.is_stick() && self.stick.is_none()) else {
            return;
        };
        let seed = Seed::read(&partition.path()).unwrap_or_else(|why| {
            self.log.say(&why);
            None
        });
        self.stick = Some(Stick {
            from_network: seed.as_ref().is_some_and(|seed| seed.from_network),
            esp: layout.esp.as_ref().and_then(|partition| partition.uuid.clone()),
            servers: seed.as_ref().map(|seed| seed.boot_servers.clone()).unwrap_or_default(),
        });
        match seed {
            Some(seed) => self.use_seed(seed),
            // The booted system looks for one, for as long as it takes, and a person may set a network there meanwhile.
            None => self.log.say(
                "this stick has no seed (`meadow image seed` writes one), so it takes part in nothing yet; the booted system looks for a Meadow server on this LAN",
            ),
        }
    }

    fn use_seed(&mut self, seed: Seed) {
        self.log.milestone("seed", "");
        seed.warnings.iter().for_each(|warning| self.log.say(warning));
        self.complain(write_private(&format!("{RUN_DIR}/seed.json"), &seed.json));
        let allowed = self.dropbear.allow(&seed.authorized_keys, Purpose::Look, &self.children, &self.log);
        self.complain(allowed.map_err(|error| error.context("SSH will not be there")));
        if seed.network.is_empty() {
            return;
        }
        self.network.fix(seed.network);
        if !self.network.wait_fixed(ADDRESS_PATIENCE) {
            self.log.say(
                "an address of the stick's seed is not in use, since its card is not there or has no driver: compare the seed's cards (`meadow image seed --show`) with the lines above",
            );
        }
    }

    /// The boot server on this LAN, or one beside an API that the seed names.
    pub(super) fn stick_server(&self) -> Option<Uplink> {
        if self.network.asks_dhcp()
            && let Some(uplink) = self.network.server_within(SERVER_PATIENCE, &self.log)
        {
            return Some(uplink);
        }
        let (_, mac) = self.network.first_card()?;
        let servers = self.stick.iter().flat_map(|stick| &stick.servers);
        let mut uplinks = servers.map(|base| Uplink { route: Route { interface: None, base: *base }, mac });
        uplinks.find(|uplink| {
            self.log.waiting(&format!(
                "for a Meadow boot server at {}, beside the API that the seed names",
                uplink.route.base
            ));
            let answer = http::get(&uplink.route, SIGNATURE, LARGEST_SIGNATURE);
            answer.is_ok_and(|(status, _)| status == 200)
        })
    }
}
