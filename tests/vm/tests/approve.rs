//! Machines are approved and installed in one go, one with only its state on its disk; somebody in the middle gets no
//! passphrase; and an installation survives power cuts.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use meadow_power::WriteLog;
use meadow_rack::cluster::MachineRow;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site};
use meadow_tests_vm::impostor::Impostor;
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{BOOT, SSH_PORT, address, disk, milestone};

/// The first one goes on booting over the network; the second one is installed.
const FIRMWARE: [Firmware; 2] = [Firmware::UefiPxe, Firmware::BiosPxe];
/// How many power cuts; `make soak` wants more.
const CUTS: &str = "MEADOW_POWER_CUTS";

fn mac(story: &Story, number: usize) -> String {
    story.site.rack().machines()[number - 1].hardware().mac.clone()
}

/// Approves a machine whose fingerprint is not compared here, and consents to what its disk loses.
fn approve(story: &Story, number: usize, options: &[&str]) -> Output {
    let file = story.file("passphrase", PASSPHRASE).display().to_string();
    let machine = pending(&story.site, &mac(story, number)).expect("the cluster answers").expect("one that waits").name;
    let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file];
    story.meadow(&[&["--no-input", "machine", "approve", &machine], options, &consent].concat())
}

/// The machine with this card that waits for a person. A node that ran from memory comes back as another one.
fn pending(site: &Site, mac: &str) -> anyhow::Result<Option<MachineRow>> {
    let machines = site.cluster().machines()?;
    Ok(machines.into_iter().find(|machine| machine.mac == mac && machine.phase == "Pending"))
}

fn wait_pending(story: &mut Story, number: usize) {
    let mac = mac(story, number);
    let waits = story.site.until("a machine that waits", BOOT, |site| pending(site, &mac));
    waits.unwrap_or_else(|error| panic!("{error:#}; {:?}", story.site.rack().machines()[number - 1].milestones()));
}

#[test]
fn approved_machines_are_installed_at_once_and_survive_power_cuts_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut story = Story::begin_with(&RackConfig::cycled(2, &FIRMWARE), SeedConfig::default(), folder.path());
    disk::put_foreign_data(&story.site.rack().machines()[0].hardware().disk).expect("data");
    let log = record(&mut story);
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
    story.site.rack_mut().machine(2).expect("there").power_off().expect("off");

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

    no_power_cut_loses_the_machine(&mut story, &log);
    a_wiped_disk_is_not_waited_for(&mut story, &log);
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

/// Where the writes to the disk of node-2 are, and where it was before them.
struct Recorded {
    base: PathBuf,
    log: PathBuf,
}

fn record(story: &mut Story) -> Recorded {
    let file = |name: &str| story.site.rack().run().file(name);
    let recorded = Recorded { base: file("node-2.base.disk"), log: file("node-2.log.disk") };
    let machine = story.site.rack_mut().machine(2).expect("there");
    machine.record_writes(&recorded.base, &recorded.log).expect("recorded");
    recorded
}

/// Cuts the power at moments of the installation. The machine then either is the node that asks for its passphrase, or
/// comes back as a machine that can be installed once more.
fn no_power_cut_loses_the_machine(story: &mut Story, recorded: &Recorded) {
    let machine = story.site.rack_mut().machine(2).expect("there");
    machine.stop_recording();
    machine.boot_from_disk();
    let disk = machine.hardware().disk.clone();
    let log = WriteLog::open(&recorded.log).expect("a log");
    let cuts: u64 = std::env::var(CUTS).map_or(2, |text| text.parse().expect("a number"));
    let mac = mac(story, 2);
    for seed in 1..=cuts {
        let said = log.cut_power(&recorded.base, &disk, seed).expect("cut");
        story.progress.line(&said);
        // The server is as it was when the power failed: it has not heard that the installation is done.
        story.ok(&["machine", "boot", &mac, "image"]);
        story.site.rack_mut().power_on(2).expect("power");
        let opened = if is_whole(story) {
            // The cluster has not heard of this installation's host key: a person takes it from the console.
            let shown =
                milestone(&story.site.rack().machines()[1], "unlock waiting").expect("a log").expect("a prompt");
            let key = shown.split_whitespace().find(|word| word.starts_with("SHA256:")).expect("a host key").to_owned();
            story.unlock_with("node-2", PASSPHRASE, &["--host-key", &key])
        } else {
            story.progress.line("it is a new machine, and is installed once more");
            let approved = approve(story, 2, &["--replaces", "node-2", "--install", "node-2", "--no-reboot"]);
            assert!(approved.status.success(), "{approved:?}");
            story.site.rack_mut().machine(2).expect("there").power_off().expect("off");
            story.site.rack_mut().power_on(2).expect("power");
            story.wait_stage(&[2], "unlock waiting");
            story.unlock("node-2", PASSPHRASE)
        };
        assert!(opened.status.success(), "{opened:?}");
        story.wait_stage(&[2], "switch-root");
        story.site.rack_mut().machine(2).expect("there").power_off().expect("off");
    }
}

/// The cluster names the disk of a node's state. Where that is there and empty, the node comes back as a new machine, and is
/// told what it was.
fn a_wiped_disk_is_not_waited_for(story: &mut Story, recorded: &Recorded) {
    story.progress.line("its disk is wiped, and it comes back as a new machine");
    let mac = mac(story, 2);
    let disk = story.site.rack().machines()[1].hardware().disk.clone();
    // As it was before its installation.
    fs::copy(&recorded.base, disk).expect("wiped");
    story.ok(&["machine", "boot", &mac, "image"]);
    story.site.rack_mut().power_on(2).expect("power");
    wait_pending(story, 2);
    let machine = pending(&story.site, &mac).expect("the cluster answers").expect("one that waits").name;
    let shown = story.ok(&["machine", "show", &machine]);
    assert!(shown.contains("it was node-2 of this cluster"), "{shown}");
}

/// Whether the machine asks for the passphrase of its state, and not for its approval.
fn is_whole(story: &mut Story) -> bool {
    let mac = mac(story, 2);
    let whole = story.site.until("a node or a machine", BOOT, |site| {
        if milestone(site.rack_mut().machine(2)?, "unlock waiting")?.is_some() {
            return Ok(Some(true));
        }
        Ok(pending(site, &mac)?.map(|_| false))
    });
    whole.unwrap_or_else(|error| panic!("{error:#}; {:?}", story.site.rack().machines()[1].milestones()))
}
