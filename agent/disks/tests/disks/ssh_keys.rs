//! The admins' SSH keys in the record, over the helper's lines, and power that fails while they are written.

use std::fs;
use std::os::unix::fs::FileExt;

use meadow_disks::serve;
use meadow_model::Fingerprint;
use meadow_model::install::{BootSlot, DiskReply, DiskRequest, InstallMode, InstalledDisk};
use meadow_model::preboot::Preboot;
use meadow_model::{record, ssh_key};

use crate::image;
use crate::install::run;
use crate::keys::{ask, why};
use crate::machine::MadeUp;
use crate::network::Folder;
use crate::seeds;

fn installed(mode: InstallMode) -> MadeUp {
    let machine = MadeUp::new(4 << 30);
    run(&machine, &image::work(&machine, mode)).unwrap();
    machine.restart_hard();
    machine
}

fn start(machine: &MadeUp, mode: InstallMode) -> u64 {
    let partitions = image::plan(machine, mode).partitions;
    partitions.into_iter().find(|part| part.name == "meadow-preboot").unwrap().start
}

/// The record as the initramfs reads it, and how often it was written.
fn recorded(machine: &MadeUp, mode: InstallMode) -> (Preboot, u64) {
    let mut area = vec![0; record::AREA_BYTES];
    fs::File::open(machine.disk()).unwrap().read_exact_at(&mut area, start(machine, mode)).unwrap();
    let newest = record::newest(&area).unwrap();
    (serde_json::from_slice(newest.payload).unwrap(), newest.generation)
}

fn set(machine: &MadeUp, keys: &[&str]) -> DiskReply {
    let ca_fingerprint = image::work(machine, InstallMode::StateOnly).ca_fingerprint;
    ask(machine, &DiskRequest::SetSshKeys { keys: keys.iter().map(|key| (*key).to_owned()).collect(), ca_fingerprint })
}

fn done(reply: DiskReply) -> InstalledDisk {
    match reply {
        DiskReply::Done { disk: Some(disk), .. } => disk,
        other => panic!("{other:?}"),
    }
}

#[test]
fn they_are_written_where_they_differ_and_nothing_else_of_the_record_changes() {
    for mode in [InstallMode::System, InstallMode::StateOnly] {
        let machine = installed(mode);
        let (before, writes) = recorded(&machine, mode);
        let disk = done(ask(&machine, &DiskRequest::Look));
        assert_eq!(disk.ssh_keys, Some(ssh_key::digest(&before.authorized_keys)));

        let disk = done(set(&machine, &["ssh-ed25519 BBBB bob", "ssh-ed25519 CCCC carol"]));
        let (after, written) = recorded(&machine, mode);
        let keys = ["ssh-ed25519 BBBB bob", "ssh-ed25519 CCCC carol"].map(str::to_owned);
        assert_eq!(after, Preboot { authorized_keys: keys.to_vec(), ..before });
        assert_eq!((disk.ssh_keys, written), (Some(ssh_key::digest(&keys)), writes + 1));

        done(set(&machine, &["ssh-ed25519 BBBB bob", "ssh-ed25519 CCCC carol"]));
        assert_eq!(recorded(&machine, mode).1, written, "the same is not written");
        done(set(&machine, &[]));
        assert!(recorded(&machine, mode).0.authorized_keys.is_empty());
    }
}

#[test]
fn a_disk_of_another_cluster_and_a_disk_that_is_being_changed_are_left_alone() {
    // There is one made-up machine at a time.
    let blank = MadeUp::new(4 << 30);
    assert!(why(set(&blank, &[])).contains("no disk of its own"));
    drop(blank);
    let machine = installed(InstallMode::System);
    let before = recorded(&machine, InstallMode::System);
    let other = DiskRequest::SetSshKeys { keys: Vec::new(), ca_fingerprint: Fingerprint([9; 32]) };
    let refused = why(ask(&machine, &other));
    assert!(refused.contains("of the cluster home"), "{refused}");

    let line = serde_json::to_string(&other).unwrap() + "\n";
    let mut output = Vec::new();
    serve(&machine, &Folder::nowhere(), &mut line.as_bytes(), &mut output, |_| Ok(None::<()>));
    let refused = why(serde_json::from_slice(&output).unwrap());
    assert!(refused.contains("under way"), "{refused}");
    assert_eq!(recorded(&machine, InstallMode::System), before);
}

#[test]
fn power_that_fails_leaves_the_keys_of_before_or_the_new_ones_and_asked_again_the_new_ones() {
    let machine = installed(InstallMode::System);
    machine.boots("S1", BootSlot::A);
    let (before, _) = recorded(&machine, InstallMode::System);
    let new = "ssh-ed25519 BBBB bob";
    let after = Preboot { authorized_keys: vec![new.to_owned()], ..before.clone() };
    let (reply, log) = machine.record(|| set(&machine, &[new]));
    done(reply);
    let judge = |said: &str| {
        let (found, _) = recorded(&machine, InstallMode::System);
        assert!(found == before || found == after, "{said}: {found:?}");
        done(set(&machine, &[new]));
        assert_eq!(recorded(&machine, InstallMode::System).0, after, "{said}");
        machine.restart_hard();
    };
    machine.restart_hard();
    for end in 0..=log.len() {
        log.replay(&machine.base(), &machine.disk(), end, |_| false).unwrap();
        judge(&format!("after {end} of {} writes", log.len()));
    }
    for seed in seeds() {
        let said = log.cut_power(&machine.base(), &machine.disk(), seed).unwrap();
        judge(&said);
    }
}
