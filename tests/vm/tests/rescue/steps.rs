//! What happens to two nodes, and what their admin waits for.

use std::fs::File;
use std::os::unix::fs::FileExt;

use meadow_rack::cluster::{MachineRow, NodeRow};
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{BOOT, node_disk};
use serde_json::Value;

/// Opens the state of a node once it asks for its passphrase.
pub(crate) fn unlock(story: &mut Story, number: usize) {
    story.wait_stage(&[number], "dropbear");
    let opened = story.unlock(&format!("node-{number}"), PASSPHRASE);
    assert!(opened.status.success(), "{opened:?}");
}

pub(crate) fn node(story: &Story, name: &str) -> Option<NodeRow> {
    story.nodes().into_iter().find(|node| node.name == name)
}

pub(crate) fn wait_ready(story: &mut Story, name: &str) -> NodeRow {
    let ready = story.site.until(&format!("{name} to be ready"), BOOT, |site| {
        Ok(site.cluster().nodes()?.into_iter().find(|node| node.name == name && node.is_ready()))
    });
    ready.unwrap_or_else(|error| {
        let logs: Vec<_> = story.site.rack().machines().iter().map(|m| m.milestones()).collect();
        panic!("{error:#}; {:?} {:?} {logs:?}", node(story, name), story.site.cluster().machines())
    })
}

/// Waits until a node says that it runs from the first of these slots and has blessed the second.
pub(crate) fn wait_slots(story: &mut Story, name: &str, wanted: (&str, &str)) {
    let reached = story.site.until("the slots", BOOT, |site| {
        let shown = site.seed().meadow()?.args(["node", "show", name, "-o", "json"]).output()?;
        let shown: Value = serde_json::from_slice(&shown.stdout)?;
        let disk = &shown["status"]["installed"];
        Ok((disk["running"] == wanted.0 && disk["blessed"] == wanted.1).then_some(()))
    });
    reached.unwrap_or_else(|error| panic!("{error:#}; {}", story.ok(&["node", "show", name, "-o", "json"])));
}

/// Waits until the computer with the MAC address of this machine asks to be let in.
pub(crate) fn wait_pending(story: &mut Story, number: usize) -> MachineRow {
    let mac = story.site.rack().machines()[number - 1].hardware().mac.clone();
    let asks = |machine: &MachineRow| machine.phase == "Pending" && machine.mac == mac;
    let pending = story
        .site
        .until("a machine that waits for a person", BOOT, |site| Ok(site.cluster().machines()?.into_iter().find(asks)));
    pending.unwrap_or_else(|error| {
        let logs = story.site.rack().machines()[number - 1].milestones();
        panic!("{error:#}; {:?} {logs:?}", story.site.cluster().machines())
    })
}

pub(crate) fn expect_restart(story: &mut Story, number: usize) {
    story.site.rack_mut().machine(number).expect("there").expect_restart();
}

/// Overwrites the beginning of a partition of a machine that is off.
pub(crate) fn damage(story: &Story, number: usize, partition: &str, bytes: usize) {
    let disk = &story.site.rack().machines()[number - 1].hardware().disk;
    let parts = node_disk::partitions(disk).expect("a table");
    let (_, start, _) = parts.into_iter().find(|(name, ..)| name == partition).expect("the partition");
    let file = File::options().write(true).open(disk).expect("a disk");
    file.write_all_at(&vec![0xa5; bytes], start).expect("damaged");
}
