//! Waits for disks: those that are late, and the stick that is plugged in by and by.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use super::{Boot, Setback};
use crate::disks::{Layout, layouts, partitions, same_serial, serial, with_serial};
use crate::system::uptime;

/// From the first look on. USB disks show themselves after some seconds, SCSI adapters after up to half a minute; an
/// attempt that ends too early does no harm, since a disk that comes begins the next one.
const PATIENCE: Duration = Duration::from_secs(20);
/// For the disk that the boot loader came from, once another one with a root is there.
const HEAD_START: Duration = Duration::from_secs(10);

/// Bytes at a disk's start in which its partition table lies.
const TABLE: usize = 32 << 10;

/// Most disks are there by then, and nobody has to read that they were waited for.
const SILENCE: Duration = Duration::from_secs(2);

impl Boot {
    /// The disks with a root, the one to boot from first. Empty after a while without any.
    pub(super) fn wait_for_root_disks(&self, esp: Option<&str>) -> Vec<Layout> {
        let begin = uptime();
        loop {
            let known = self.arrivals.count();
            let mut found = settled(esp);
            found.retain(Layout::has_root);
            let end = match found.first() {
                Some(first) if esp.is_none() || first.is_of(esp) => return found,
                Some(_) => begin + HEAD_START,
                None => begin + PATIENCE,
            };
            if uptime() >= end {
                return found;
            }
            self.wait_for_arrival(known, begin, end, || {
                format!(
                    "for a disk with Meadow's system (partitions meadow-root-a and meadow-root-b); {}; is it plugged in?",
                    there(found.iter().map(|layout| layout.disk.as_str()))
                )
            });
        }
    }

    /// The disk that the server named for this machine's state; `None` where it is there and nothing of ours is on it any
    /// more.
    pub(super) fn wait_for_state_disk(&self, wanted: &str, node: Option<&str>) -> Result<Option<Layout>, Setback> {
        if let Some(hardware) = &self.hardware
            && hardware.loader.allow_disks()
        {
            hardware.coldplug();
        }
        let begin = uptime();
        let end = begin + PATIENCE;
        loop {
            let known = self.arrivals.count();
            let mut of_states = settled(None);
            of_states.retain(|layout| layout.state.is_some() || layout.preboot.is_some());
            let mut matching: Vec<Layout> = of_states
                .iter()
                .filter(|layout| serial(&layout.disk).is_some_and(|found| same_serial(&found, wanted)))
                .cloned()
                .collect();
            match matching.pop() {
                Some(_) if !matching.is_empty() => {
                    return Err(Setback::Retry(anyhow::anyhow!(
                        "two disks have the serial number {wanted} and a state, so neither is opened: unplug the one that is not this node's"
                    )));
                }
                Some(layout) => return Ok(Some(layout)),
                None => {}
            }
            if uptime() >= end {
                return match with_serial(wanted).as_slice() {
                    [] => Err(Setback::Retry(anyhow::anyhow!(
                        "this node's state is on the disk with the serial number {wanted}, which is not there; {}: plug it in, or, if it is lost, `meadow node remove {}`: this machine then comes back as a new one",
                        there(of_states.iter().map(|layout| layout.disk.as_str())),
                        node.unwrap_or("NODE")
                    ))),
                    [disk] => answers(disk).map(|()| None),
                    disks => Err(Setback::Retry(anyhow::anyhow!(
                        "the disks {} have the serial number {wanted}, and none has a state: unplug the one that is not this node's",
                        disks.join(", ")
                    ))),
                };
            }
            self.wait_for_arrival(known, begin, end, || {
                format!("for the disk with the serial number {wanted}, which holds this node's state")
            });
        }
    }

    /// Until a disk comes or the time is over; says what is missing if it takes long.
    pub(super) fn wait_for_arrival(&self, known: u64, begin: Duration, end: Duration, what: impl Fn() -> String) {
        let silent = (begin + SILENCE).min(end);
        if uptime() < silent && self.arrivals.wait(known, silent) {
            return;
        }
        self.log.waiting(&what());
        self.arrivals.wait(known, end);
    }
}

/// A disk that does not answer has lost nothing yet.
fn answers(disk: &str) -> Result<(), Setback> {
    let mut table = [0; TABLE];
    let read = File::open(format!("/dev/{disk}")).and_then(|mut file| file.read_exact(&mut table));
    read.map_err(|error| {
        Setback::Retry(anyhow::anyhow!(
            "this node's state is on {disk}, which cannot be read: {error}; check its cable"
        ))
    })
}

/// What is there. The kernel adds partitions one after the other and keeps the disk locked meanwhile: opening it waits
/// for the last one.
pub(super) fn settled(esp: Option<&str>) -> Vec<Layout> {
    for layout in layouts(partitions(), esp) {
        // A disk that cannot be opened will fail where it is read.
        let _ = File::open(format!("/dev/{}", layout.disk));
    }
    layouts(partitions(), esp)
}

fn there<'a>(disks: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = disks.collect();
    if names.is_empty() { "there is none so far".to_owned() } else { format!("so far there is {}", names.join(", ")) }
}
