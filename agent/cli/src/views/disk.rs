//! Nodes' own disks.

use meadow_model::install::{InstallPlan, InstalledDisk, KeyKind, KeySlot};

use super::decimal_bytes;
use crate::output::{Column, View};

impl View for InstallPlan {
    fn reference(&self) -> String {
        format!("install-plan/{}", self.hash)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NODE", wide: false, cell: |p| p.node.as_str().into() },
            Column { title: "SERIAL", wide: false, cell: |p| p.serial.as_str().into() },
            Column { title: "SIZE", wide: false, cell: |p| decimal_bytes(p.size_bytes).into() },
            Column { title: "LOSES", wide: false, cell: |p| p.loses.join(", ").into() },
            Column { title: "HASH", wide: true, cell: |p| p.hash.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Node", self.node.to_string()),
            ("Disk", format!("{} ({}, {})", self.serial, self.disk, decimal_bytes(self.size_bytes))),
            ("Loses", self.loses.join(", ")),
        ];
        lines.extend(
            self.partitions.iter().map(|p| ("Partition", format!("{} {} {}", p.number, p.name, decimal_bytes(p.size)))),
        );
        lines.push(("Free", decimal_bytes(self.free_bytes)));
        lines
    }
}

impl View for InstalledDisk {
    fn reference(&self) -> String {
        format!("disk/{}", self.serial)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "SERIAL", wide: false, cell: |d| d.serial.as_str().into() },
            Column {
                title: "KEYS",
                wide: false,
                cell: |d| d.keys.iter().map(key).collect::<Vec<_>>().join(", ").into(),
            },
            Column { title: "HOST KEY", wide: true, cell: |d| d.host_key.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        lines(self)
    }
}

/// What `meadow node show` tells of a node's own disk.
pub(super) fn lines(disk: &InstalledDisk) -> Vec<(&'static str, String)> {
    let slot =
        |slot: Option<meadow_model::install::BootSlot>| slot.map_or("-", meadow_model::install::BootSlot::letter);
    let kept = if disk.host_key_sealed { "kept by the TPM" } else { "who copies the disk can pose as this prompt" };
    let mut lines = vec![
        ("State on", format!("{} ({})", disk.serial, disk.disk)),
        ("Slots", format!("runs {}, blessed {}", slot(disk.running), slot(disk.blessed))),
        ("SSH key", format!("{} ({kept})", disk.host_key)),
    ];
    if let Some(slot) = disk.went_back_from {
        lines.push(("Went back", format!("from slot {}, whose image did not start or was not well", slot.letter())));
    }
    lines.extend(disk.keys.iter().map(|slot| ("Key", key(slot))));
    lines
}

fn key(slot: &KeySlot) -> String {
    let kind = match slot.kind {
        KeyKind::Passphrase => "passphrase",
        KeyKind::Recovery => "recovery key",
        KeyKind::Tpm2 => "TPM",
        KeyKind::Peers => "peers",
    };
    format!("{}: {kind} {}", slot.slot, slot.label).trim_end().to_owned()
}
