//! What an installation will do to a disk.

use meadow_model::Name;
use meadow_model::hardware::{Disk, Hardware};
use meadow_model::install::{InstallMode, InstallPlan};
use sha2::{Digest, Sha256};

use crate::{Refusal, contents, layout};

/// Plans what installing `node` on the disk with that serial number does.
///
/// # Errors
/// [`Refusal`]
pub fn plan(node: &Name, hardware: &Hardware, serial: &str, mode: InstallMode) -> Result<InstallPlan, Refusal> {
    let disk = find(node, hardware, serial)?;
    refuse(node, disk, serial, mode)?;
    let (partitions, free_bytes) =
        layout::partitions(mode, disk.size_bytes).ok_or_else(|| too_small(disk, serial, mode))?;
    let plan = InstallPlan {
        node: node.clone(),
        mode,
        disk: disk.name.clone(),
        serial: serial.to_owned(),
        model: disk.model.clone(),
        size_bytes: disk.size_bytes,
        loses: loses(disk),
        partitions,
        free_bytes,
        hash: String::new(),
    };
    Ok(InstallPlan { hash: hash(&plan), ..plan })
}

/// The smallest disk of `node` on which nothing lies and that would be taken: larger ones stay for storage.
///
/// # Errors
/// [`Refusal::NoBlankDisk`]
pub fn smallest_blank<'a>(node: &Name, hardware: &'a Hardware, mode: InstallMode) -> Result<&'a Disk, Refusal> {
    let may_be_taken = |disk: &&Disk| {
        let serial = disk.serial.as_deref().unwrap_or_default();
        let this_one = find(node, hardware, serial).is_ok();
        this_one && loses(disk).is_empty() && refuse(node, disk, serial, mode).is_ok()
    };
    let blank = hardware.disks.iter().filter(may_be_taken).min_by(|a, b| {
        let key = |disk: &Disk| (disk.size_bytes, disk.serial.clone());
        key(a).cmp(&key(b))
    });
    blank.ok_or_else(|| Refusal::NoBlankDisk {
        node: node.to_string(),
        needs: layout::least_bytes(mode),
        known: hardware.disks.iter().filter_map(|disk| disk.serial.clone()).collect(),
    })
}

/// Whether what was consented to on one plan still holds for another one: the same disk with the same on it. The node may
/// have got its name since, and the kernel may call the disk otherwise.
#[must_use]
pub fn same_consent(seen: &InstallPlan, now: &InstallPlan) -> bool {
    let bare = |plan: &InstallPlan| InstallPlan {
        node: seen.node.clone(),
        disk: String::new(),
        hash: String::new(),
        ..plan.clone()
    };
    bare(seen) == bare(now)
}

/// What lies on a disk and would be lost, in words; empty where it is blank.
#[must_use]
pub fn loses(disk: &Disk) -> Vec<String> {
    contents::in_words(disk)
}

/// The hash that consent is given to: SHA-256 over every other field, in hexadecimal.
#[must_use]
pub fn hash(plan: &InstallPlan) -> String {
    let bare = InstallPlan { hash: String::new(), ..plan.clone() };
    // Plain data without maps serializes always, and always the same.
    let bytes = serde_json::to_vec(&bare).unwrap_or_default();
    let digest = Sha256::new().chain_update(b"meadow install plan 1\n").chain_update(bytes).finalize();
    data_encoding::HEXLOWER.encode(&digest)
}

/// Whether a plan is whole: its hash is right and its partitions can be written.
#[must_use]
pub fn is_sound(plan: &InstallPlan) -> bool {
    plan.hash == hash(plan) && layout::is_sound(&plan.partitions, plan.size_bytes)
}

/// The one disk with that serial number.
///
/// # Errors
/// [`Refusal::NoSuchDisk`], [`Refusal::SameSerial`]
pub fn find<'a>(node: &Name, hardware: &'a Hardware, serial: &str) -> Result<&'a Disk, Refusal> {
    let same: Vec<&Disk> = hardware.disks.iter().filter(|disk| disk.serial.as_deref() == Some(serial)).collect();
    match same.as_slice() {
        [disk] if !serial.is_empty() => Ok(disk),
        [] | [_] => Err(Refusal::NoSuchDisk {
            node: node.to_string(),
            serial: serial.to_owned(),
            known: hardware.disks.iter().filter_map(|disk| disk.serial.clone()).collect(),
        }),
        several => Err(Refusal::SameSerial {
            serial: serial.to_owned(),
            disks: several.iter().map(|disk| disk.name.clone()).collect(),
        }),
    }
}

/// Why this disk is not taken, whatever lies on it.
///
/// # Errors
/// [`Refusal`], the one that is most worth knowing.
pub fn refuse(node: &Name, disk: &Disk, serial: &str, mode: InstallMode) -> Result<(), Refusal> {
    refuse_writing(node, disk, serial)?;
    if disk.size_bytes < layout::least_bytes(mode) {
        return Err(too_small(disk, serial, mode));
    }
    Ok(())
}

/// Why nothing is written to this disk, however large it is.
pub(crate) fn refuse_writing(node: &Name, disk: &Disk, serial: &str) -> Result<(), Refusal> {
    let (name, serial, node) = (disk.name.clone(), serial.to_owned(), node.to_string());
    if disk.partitions.iter().any(|partition| partition.name.as_deref() == Some(layout::SEED)) {
        return Err(Refusal::Stick { node, disk: name, serial });
    }
    let held = disk.signature.as_deref() == Some("in use") && disk.in_use.is_empty();
    if held || !disk.in_use.is_empty() {
        let by = if held { vec!["another device".to_owned()] } else { disk.in_use.clone() };
        return Err(Refusal::InUse { node, disk: name, serial, by });
    }
    if disk.read_only {
        return Err(Refusal::ReadOnly { disk: name, serial });
    }
    if disk.signature.as_deref() == Some("unreadable") {
        return Err(Refusal::Unreadable { disk: name, serial });
    }
    Ok(())
}

fn too_small(disk: &Disk, serial: &str, mode: InstallMode) -> Refusal {
    Refusal::TooSmall {
        disk: disk.name.clone(),
        serial: serial.to_owned(),
        has: disk.size_bytes,
        needs: layout::least_bytes(mode),
    }
}
