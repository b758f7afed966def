//! Booting from a disk. No server is needed: the root is checked against this initrd, the state is opened by a person.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::own_slot::OwnSlot;
use super::start_root::Root;
use super::{Boot, Setback};
use crate::disks::{Layout, Partition};
use crate::root::{RootSpec, Verdict, examine};
use crate::slot::Slot;

/// How long to look for a server that has the root, before the disks are looked at again.
const SERVER_PATIENCE: Duration = Duration::from_secs(15);

impl Boot {
    pub(super) fn boot_from_disk(
        &mut self,
        spec: &RootSpec,
        slot: Option<Slot>,
        esp: Option<&str>,
    ) -> Result<Infallible, Setback> {
        let disks = self.wait_for_root_disks(esp);
        let (disks, slot) = self.past_the_stick(disks, slot, esp);
        let own = self.own_slot(&disks, slot, esp);
        let check = RootCheck {
            candidates: disks.iter().flat_map(|layout| layout.roots_from(slot)).collect(),
            spec: spec.clone(),
            own: own.clone(),
        };
        let root = match disks.as_slice() {
            [first, others @ ..] if others.is_empty() || first.is_of(esp) => {
                // It is clear whose state to ask for, and the root is checked meanwhile.
                let check = thread::Builder::new().name("root-check".to_owned()).spawn(move || check.run());
                let check = check.context("cannot start a thread")?;
                self.use_stick(first);
                self.open_state(first)?;
                if let Some(root) = self.root_from_network(spec) {
                    return self.start_root(spec, root);
                }
                check.join().map_err(|_| anyhow!("the check of the root crashed"))?
            }
            _ => {
                let root = check.run();
                let disk = root.as_ref().map(|(_, partition)| partition.disk.as_str());
                let with_root = disks.iter().find(|layout| Some(layout.disk.as_str()) == disk);
                if let Some(layout) = with_root.or(disks.first()) {
                    self.use_stick(layout);
                    self.open_state(layout)?;
                }
                if let Some(root) = self.root_from_network(spec) {
                    return self.start_root(spec, root);
                }
                root
            }
        };
        if self.state.is_none() && self.stick.is_none() {
            self.log.say(
                "this disk has no state of a node, so this machine is a new one; the booted system looks for a Meadow server on this LAN",
            );
        }
        match root {
            Some((slot, partition)) => {
                self.log.milestone("root verified", &format!("slot {} on {}", slot.letter(), partition.device));
                self.start_root(spec, Root::Partition { slot, partition })
            }
            None => self.boot_fetched_root(spec, &disks, &own),
        }
    }

    fn own_slot(&self, disks: &[Layout], slot: Option<Slot>, esp: Option<&str>) -> OwnSlot {
        OwnSlot {
            running: slot,
            // Another disk's boot loader has nothing to do with this boot.
            esp: Layout::started(disks, esp).and_then(|layout| layout.esp.clone()),
            loader: self.hardware.as_ref().map(|hardware| Arc::clone(&hardware.loader)),
            log: Arc::clone(&self.log),
        }
    }

    /// The same root from a server, if one answers: as good as the disk's, since only its digest counts.
    fn boot_fetched_root(&mut self, spec: &RootSpec, disks: &[Layout], own: &OwnSlot) -> Result<Infallible, Setback> {
        let problem = if disks.is_empty() {
            "no disk with Meadow's system was found: plug it in, or install this machine again"
        } else {
            "no root on the disks is the one of this initrd (damaged, or half of an update): install this machine again once it runs"
        };
        self.log.say(&format!("{problem}; looking for a Meadow server that has it"));
        let Some(uplink) = self.network.server_within(SERVER_PATIENCE, &self.log) else {
            own.fall_back();
            return Err(Setback::Retry(anyhow!("{problem}; no Meadow server answers either: both are tried again")));
        };
        self.fetch_root(spec, &uplink)?;
        self.start_root(spec, Root::Memory(uplink))
    }
}

/// Looks for the root of this initrd on partitions.
struct RootCheck {
    candidates: Vec<(Slot, Partition)>,
    spec: RootSpec,
    own: OwnSlot,
}

impl RootCheck {
    /// The partition with the right root. Does not come back where a new image on trial has none: nobody is to type a
    /// passphrase for it.
    fn run(self) -> Option<(Slot, Partition)> {
        self.own.note_start();
        let log = &self.own.log;
        for (slot, partition) in &self.candidates {
            let what = format!("slot {} on {}", slot.letter(), partition.device);
            match examine(&partition.path(), &self.spec, |_| ()) {
                Verdict::Right => return Some((*slot, partition.clone())),
                Verdict::Other => log.say(&format!("{what} does not hold the root of this initrd")),
                Verdict::Unreadable(error) => log.say(&format!("{what} cannot be read ({error}): check that disk")),
            }
        }
        self.own.give_up();
        None
    }
}
