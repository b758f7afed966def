//! Machines are approved and installed in one go, one with only its state on its disk; somebody in the middle gets no
//! passphrase; and an installation survives power cuts.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig};
use meadow_tests_vm::approval::{approve, mac, pending, wait_pending};
use meadow_tests_vm::impostor::Impostor;
use meadow_tests_vm::installation::Installation;
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{SSH_PORT, address, disk, milestone, power_cuts};

/// The first one goes on booting over the network; the second one is installed.
const FIRMWARE: [Firmware; 2] = [Firmware::UefiPxe, Firmware::BiosPxe];

#[test]
fn approved_machines_are_installed_at_once_and_survive_power_cuts_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut story = Story::begin_with(&RackConfig::cycled(2, &FIRMWARE), SeedConfig::default(), folder.path());
    disk::put_foreign_data(&story.site.rack().machines()[0].hardware().disk).expect("data");
    let installation = Installation::record(&mut story, 2);
    story.site.rack_mut().power_on_all().expect("power");
    wait_pending(&mut story, 1);
    wait_pending(&mut story, 2);

    story.progress.line("no disk is taken that is not blank or not there, and nobody is approved then");
    let digest = disk::digest(&story.site.rack().machines()[0].hardware().disk).expect("a digest");
    for options in [&["--install-blank"][..], &["--install", "nothing"]] {
        let refused = approve(&story, 1, options);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(4) && said.contains("it has node-1"), "{refused:?}");
        let waits = pending(&story.site, &mac(&story, 1)).expect("the cluster answers");
        assert!(waits.is_some(), "it was approved all the same");
    }
    assert_eq!(disk::digest(&story.site.rack().machines()[0].hardware().disk).expect("a digest"), digest);

    story.progress.line("one gets its state onto its disk, the other one is installed");
    story.site.rack_mut().machine(1).expect("there").expect_restart();
    let approved = approve(&story, 1, &["--node", "node-1", "--state-disk", "node-1"]);
    assert!(approved.status.success(), "{approved:?}");
    let approved = approve(&story, 2, &["--node", "node-2", "--install-blank", "--no-reboot"]);
    assert!(approved.status.success(), "{approved:?}");
    let before = story.nodes();
    installation.end(&mut story);

    story
        .progress
        .line("it boots over the network and waits for its passphrase; somebody in the middle does not get it");
    story.wait_stage(&[1], "unlock waiting");
    let network = milestone(&story.site.rack().machines()[0], "network").expect("a log").expect("an address");
    someone_in_the_middle(&mut story, address(&network).expect("an address"));
    let opened = story.unlock("node-1", PASSPHRASE);
    assert!(opened.status.success(), "{opened:?}");
    story.wait_shown("node-1", "Ready");
    let of = |nodes: &[meadow_rack::cluster::NodeRow]| {
        nodes.iter().find(|n| n.name == "node-1").map(|n| n.fingerprint.clone())
    };
    assert_eq!(of(&story.nodes()), of(&before), "the same node");
    let shown = story.ok(&["node", "show", "node-1", "-o", "jsonpath={.status.installed.mode}"]);
    assert_eq!(shown.trim(), "state-only");
    story.site.rack_mut().machine(1).expect("there").power_off().expect("off");

    (1..=power_cuts()).for_each(|seed| installation.no_power_cut_loses_the_machine(&mut story, seed));
    a_wiped_disk_is_not_waited_for(&mut story, &installation);
}

fn someone_in_the_middle(story: &mut Story, address: std::net::IpAddr) {
    let namespace = story.site.seed().namespace().clone();
    let port = SSH_PORT.parse().expect("a port");
    let impostor = Impostor::start(story.site.rack_mut().parts().0, &namespace, address, port).expect("an impostor");
    let refused = story.unlock("node-1", PASSPHRASE);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(4) && said.contains("SOMEBODY ELSE ANSWERS"), "{refused:?}");
    let seen = impostor.log().expect("a log");
    // Whoever asks for a host key and goes is all that it saw.
    assert!(seen.contains("Exit before auth") && !seen.contains("auth succeeded"), "{seen}");
}

/// The cluster names the disk of a node's state. Where that is there and empty, the node comes back as a new machine, and is
/// told what it was.
fn a_wiped_disk_is_not_waited_for(story: &mut Story, installation: &Installation) {
    story.progress.line("its disk is wiped, and it comes back as a new machine");
    let mac = mac(story, 2);
    installation.wipe(story);
    story.ok(&["machine", "boot", &mac, "image"]);
    story.site.rack_mut().power_on(2).expect("power");
    wait_pending(story, 2);
    let machine = pending(&story.site, &mac).expect("the cluster answers").expect("one that waits").name;
    let shown = story.ok(&["machine", "show", &machine]);
    assert!(shown.contains("it was node-2 of this cluster"), "{shown}");
}
