//! What a factory reset will do to a node's disks.

use meadow_model::Name;
use meadow_model::hardware::{Disk, Hardware};
use meadow_model::install::InstalledDisk;
use meadow_model::reset::{OwnState, ResetPlan, WipedDisk};
use sha2::{Digest, Sha256};

use crate::refusal::binary;
use crate::{Refusal, contents, install};

/// Plans the reset of `node`, whose own disk is `own`, with the further disks that have these serial numbers.
///
/// # Errors
/// [`Refusal`] where one of the disks is not there, is there twice, is in use, or is not to be written.
pub fn plan(
    node: &Name,
    hardware: &Hardware,
    own: Option<&InstalledDisk>,
    serials: &[String],
) -> Result<ResetPlan, Refusal> {
    let own = own.map(|disk| OwnState {
        serial: disk.serial.clone(),
        disk: disk.disk.clone(),
        luks_uuid: disk.luks_uuid.clone(),
    });
    if let Some(own) = own.as_ref().filter(|own| !own.serial.is_empty()) {
        install::find(node, hardware, &own.serial)?;
    }
    let is_own = |serial: &str| own.as_ref().is_some_and(|own| own.serial == serial);
    let mut wipes: Vec<WipedDisk> = Vec::new();
    for serial in serials.iter().filter(|serial| !is_own(serial)) {
        if wipes.iter().all(|wiped| wiped.serial != *serial) {
            wipes.push(wipe(node, hardware, serial)?);
        }
    }
    let is_kept = |disk: &&Disk| {
        let serial = disk.serial.as_deref().unwrap_or_default();
        own.as_ref().is_none_or(|own| own.disk != disk.name) && wipes.iter().all(|wiped| wiped.serial != serial)
    };
    let keeps = hardware.disks.iter().filter(is_kept).map(in_words).collect();
    let plan = ResetPlan { node: node.clone(), own, wipes, keeps, hash: String::new() };
    Ok(ResetPlan { hash: hash(&plan), ..plan })
}

/// A disk that is to be wiped, as it is now.
///
/// # Errors
/// As [`plan`].
pub fn wipe(node: &Name, hardware: &Hardware, serial: &str) -> Result<WipedDisk, Refusal> {
    let disk = install::find(node, hardware, serial)?;
    install::refuse_writing(node, disk, serial)?;
    Ok(WipedDisk {
        serial: serial.to_owned(),
        disk: disk.name.clone(),
        model: disk.model.clone(),
        size_bytes: disk.size_bytes,
        loses: contents::in_words(disk),
    })
}

fn in_words(disk: &Disk) -> String {
    let serial = disk.serial.as_deref().unwrap_or("without a serial number");
    format!("{} ({serial}), {}", disk.name, binary(disk.size_bytes))
}

/// The hash that consent is given to: SHA-256 over every other field, in hexadecimal.
#[must_use]
pub fn hash(plan: &ResetPlan) -> String {
    let bare = ResetPlan { hash: String::new(), ..plan.clone() };
    // Plain data without maps serializes always, and always the same.
    let bytes = serde_json::to_vec(&bare).unwrap_or_default();
    let digest = Sha256::new().chain_update(b"meadow reset plan 1\n").chain_update(bytes).finalize();
    data_encoding::HEXLOWER.encode(&digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, serial: &str) -> Disk {
        Disk { name: name.to_owned(), serial: Some(serial.to_owned()), size_bytes: 4 << 30, ..Disk::default() }
    }

    fn own() -> InstalledDisk {
        let text = r#"{"serial":"S1","disk":"sda","mode":"system","luks_uuid":"u","host_key":"","host_key_sealed":false,
            "keys":[],"running":null,"blessed":null}"#;
        serde_json::from_str(text).expect("a disk")
    }

    fn planned(disks: Vec<Disk>, serials: &[&str]) -> Result<ResetPlan, Refusal> {
        let hardware = Hardware { disks, ..Hardware::default() };
        let serials: Vec<String> = serials.iter().map(|serial| (*serial).to_owned()).collect();
        plan(&Name::new("node-1").expect("valid"), &hardware, Some(&own()), &serials)
    }

    #[test]
    fn only_the_own_state_and_what_was_named_is_lost() {
        let all = || vec![Disk { in_use: vec!["/var".to_owned()], ..disk("sda", "S1") }, disk("sdb", "S2")];
        let bare = planned(all(), &[]).expect("a plan");
        assert_eq!((bare.own.as_ref().map(|own| own.serial.as_str()), bare.wipes.len()), (Some("S1"), 0));
        assert_eq!(bare.keeps, ["sdb (S2), 4 GiB"]);
        let both = planned(all(), &["S2", "S1", "S2"]).expect("a plan");
        assert_eq!((both.wipes.len(), both.keeps.len()), (1, 0));
        assert!(both.hash == hash(&both) && both.hash != bare.hash, "consent is for the very disks");
    }

    #[test]
    fn a_disk_that_is_not_to_be_written_is_refused() {
        let used = Disk { in_use: vec!["pool".to_owned()], ..disk("sdb", "S2") };
        for (other, asked) in [
            (used, "S2"),
            (Disk { read_only: true, ..disk("sdb", "S2") }, "S2"),
            (disk("sdb", "S2"), "S3"),
            (disk("sdb", "S1"), "S1"),
        ] {
            assert!(planned(vec![disk("sda", "S1"), other], &[asked]).is_err(), "{asked}");
        }
    }
}
