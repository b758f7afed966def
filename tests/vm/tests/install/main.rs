//! Nodes that booted over the network install themselves onto their disks, and come back as the same nodes once their
//! state was opened over SSH.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

mod keys;
mod power_cut;
mod update;

use std::fs;

use meadow_rack::cluster::NodeRow;
use meadow_rack::seed::SeedConfig;
use meadow_rack::tpm::Tpm;
use meadow_rack::{Firmware, RackConfig, paths};
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{BOOT, SAMPLE, disk, power_cuts};

/// BIOS by the iPXE in the card's ROM, UEFI by its own PXE.
const FIRMWARE: [Firmware; 2] = [Firmware::BiosPxe, Firmware::UefiPxe];

#[test]
fn nodes_install_themselves_are_unlocked_over_ssh_updated_and_survive_a_broken_update() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut story = Story::begin_with(&RackConfig::cycled(2, &FIRMWARE), SeedConfig::default(), folder.path());
    disk::put_foreign_data(&story.site.rack().machines()[0].hardware().disk).expect("data");
    story.site.arm_all().expect("armed");
    story.site.rack_mut().power_on_all().expect("power");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready nodes in RAM");
    let before = story.nodes();

    story.progress.line("foreign data is shown, and left alone without consent");
    let digest = disk::digest(&story.site.rack().machines()[0].hardware().disk).expect("a digest");
    let refused = story.meadow(&["--no-input", "node", "install", "node-1", "--disk", "node-1"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let shown = String::from_utf8_lossy(&refused.stderr);
    assert!(shown.contains("LOST:") && shown.contains("wipe-disk"), "{shown}");
    let other = story.meadow(&["--no-input", "node", "install", "node-1", "--disk", "node-2"]);
    assert_eq!(other.status.code(), Some(4), "{other:?}");
    assert_eq!(disk::digest(&story.site.rack().machines()[0].hardware().disk).expect("a digest"), digest);

    story.progress.line("both are installed");
    let first_recovery = story.install_at_a_terminal("node-1");
    let recovery = story.install("node-2");
    assert!(!recovery.is_empty(), "a recovery key is shown");

    story.progress.line("both restart from their disks and wait for their passphrase, one with Secure Boot and a TPM");
    let certificate = fs::read(paths::image().join("secureboot.cer")).expect("a certificate");
    let chip = Tpm::in_folder(&story.site.rack().run().file("node-2.tpm")).expect("a TPM");
    // One asks the network first and is left to its disk; the other one's boot order is changed by a person, since OVMF
    // waits for minutes for four kinds of network boot that nobody answers.
    story.site.rack_mut().machine(1).expect("there").expect_restart();
    story.ok(&["node", "reboot", "node-1", "--yes", "--accept-risk=reboot"]);
    let second = story.site.rack_mut().machine(2).expect("there");
    second.power_off().expect("off");
    second.boot_from_disk();
    second.enrol(&certificate).expect("enrolled");
    second.plug_in_tpm(chip);
    story.site.rack_mut().power_on(2).expect("power");
    story.wait_stage(&[1, 2], "dropbear");
    // One secret for both: the one that it does not open keeps the other from nothing.
    let both = story.unlock_all(&["node-1", "node-2"], &recovery, &[]);
    assert_eq!(both.status.code(), Some(1), "{both:?}");
    assert!(String::from_utf8_lossy(&both.stderr).ends_with("not unlocked: node-1\n"), "{both:?}");
    let opened = story.unlock("node-1", PASSPHRASE);
    assert!(opened.status.success(), "{opened:?}");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready again");
    let after = story.nodes();
    let who = |nodes: &[NodeRow]| -> Vec<(String, String, String)> {
        nodes.iter().map(|n| (n.name.clone(), n.fingerprint.clone(), n.address.clone())).collect()
    };
    assert_eq!(who(&after), who(&before), "the same nodes");

    story.progress.line("the TPM is given a key; a BIOS has nothing that it could trust");
    story.wait_shown("node-2", "Secure Boot on");
    story.wait_shown("node-1", "Secure Boot unsupported: who changes the boot loader on the disk is not noticed");
    story.wait_shown("node-1", "who copies the disk can pose as this prompt");
    let refused = story.add_tpm("node-1", PASSPHRASE);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("started by a BIOS"), "{refused:?}");
    keys::add_tpm_with_pin(&mut story, "node-2", &recovery);
    story.wait_shown("node-2", "kept by the TPM");

    story.progress.line("keys are added, renewed and removed");
    let second_recovery = keys::are_changed(&mut story, &first_recovery);

    story.progress.line("the admin gets another SSH key, and both nodes write it onto their disks");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let old_admin = keys::admin_gets_another_ssh_key(&mut story, elsewhere.path());

    story.progress.line("after a power cut both come back, one by its new recovery key, one by the PIN of its TPM");
    for number in [1, 2] {
        story.site.rack_mut().machine(number).expect("there").power_off().expect("off");
        power_cut::record(&mut story, number);
        story.site.rack_mut().power_on(number).expect("power");
    }
    story.wait_stage(&[1], "dropbear");
    keys::is_refused_to_the_old_ssh_key(&mut story, old_admin, "node-1");
    let removed = story.unlock("node-1", keys::SECOND);
    assert!(!removed.status.success(), "{removed:?}");
    let opened = story.unlock("node-1", &second_recovery);
    assert!(opened.status.success(), "{opened:?}");
    keys::unlocks_with_its_pin(&mut story, 2, &recovery);
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready once more");
    assert_eq!(who(&story.nodes()), who(&before));

    let image = update::roll_out_a_good_image(&mut story);
    if power_cuts() > SAMPLE {
        update::all_go_back_and_forth(&mut story, &image);
    }
    update::a_broken_image_goes_back_by_itself(&mut story);
    assert_eq!(who(&story.nodes()), who(&before));
    power_cut::none_loses_a_node(&mut story);
}
