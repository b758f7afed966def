//! Machines boot from USB sticks that `meadow image flash` wrote, some of them with their write-protect switch on.
//!
//! Few tests: each boot costs time.

use std::fs;
use std::path::Path;

use meadow_rack::cluster::NodeRow;
use meadow_rack::qemu::stick_serial;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site, paths};
use meadow_tests_vm::esp::Esp;
use meadow_tests_vm::rollout;
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{BOOT, disk, forged, pull_cable, serial_text, wait_screen};
use serde_json::Value;

/// The first one gets a fixed address and is installed; the second one asks DHCP.
const FIRMWARE: [Firmware; 2] = [Firmware::BiosPxe, Firmware::UefiPxe];
/// Last number of the fixed address, which the router gives to nobody.
const FIXED: u8 = 21;
/// An address in a VLAN in which nobody else is: the kernels of build machines know none.
const TAGGED: &str = "10.88.7.9/24";

fn node(story: &Story, name: &str) -> NodeRow {
    story.nodes().into_iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
}

/// Nobody here serves PXE or an image. Nothing can be written to the stick of the first one, and nothing is to the other one's; the
/// second one's cable comes late.
#[test]
fn machines_join_from_sticks_and_one_installs_itself_from_its_stick() {
    let folder = tempfile::tempdir().expect("a folder");
    let without_pxe = SeedConfig { pxe: false, ..SeedConfig::default() };
    let mut story = Story::begin_with(&RackConfig::cycled(2, &FIRMWARE), without_pxe, folder.path());

    story.progress.line("meadow image flash writes two sticks");
    let subnet = story.site.rack().lan().subnet();
    let mac = story.site.rack().machines()[0].hardware().mac.clone();
    let fixed = format!("{mac}={}/24,{}", subnet.host(FIXED), subnet.host(1));
    let joins = |name| ["--token", "new", "--name", name];
    let installs = ["--network", &fixed, "--action", "install", "--disk", "node-1"];
    story.plug_in_stick(1, &[&joins("node-1")[..], &installs].concat());
    story.plug_in_stick(2, &joins("node-2"));
    let shown = story.ok(&["image", "seed", &story.stick(1).display().to_string(), "--show", "-o", "json"]);
    assert!(shown.contains(&fixed) && shown.contains("ssh-ed25519") && !shown.contains("meadow-join"), "{shown}");
    story.site.rack_mut().machine(1).expect("there").protect_stick();
    let written = disk::digest(&story.stick(2)).expect("a digest");

    story.progress.line("both boot from them and join, one of them once its cable is in");
    story.site.rack_mut().power_on_all().expect("power");
    pull_cable(story.site.rack_mut(), 2);
    wait_screen(story.site.rack_mut(), 2, &["ASKS TO BE LET IN", "none yet: check the cable and the router"]);
    story.site.rack_mut().machine(2).expect("there").set_cable(true).expect("plugged in");
    story.wait_ready();
    let own = format!("network eth0 {}/24 fixed", subnet.host(FIXED));
    story.wait_stage(&[1], &own);
    assert!(story.ok(&["node", "ls", "-o", "json"]).matches("\"ephemeral\": true").count() == 2);
    let before = node(&story, "node-1");

    story.progress.line(
        "nothing can be written to the stick, or installed onto it; the disk is installed, with what is on the stick",
    );
    let bundle = story.meadow(&["support", "bundle", "node-1", "--stick", &stick_serial("node-1")]);
    let said = String::from_utf8_lossy(&bundle.stderr);
    assert!(
        bundle.status.code() == Some(1) && said.contains("is read-only; look for a write-protect switch"),
        "{said}"
    );
    let refused = story.meadow(&["--no-input", "node", "install", "node-1", "--disk", &stick_serial("node-1")]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is a Meadow stick"), "{refused:?}");
    let file = story.file("passphrase", PASSPHRASE).display().to_string();
    let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file];
    story.site.rack_mut().machine(1).expect("there").expect_restart();
    // Whoever was to read the recovery key is gone.
    let lost = story.meadow_to_nobody(&[&["node", "install", "node-1", "--disk", "node-1"][..], &consent].concat());
    let said = String::from_utf8_lossy(&lost.stderr);
    assert!(lost.status.code() == Some(1) && said.contains("nobody has the new recovery key"), "{lost:?}");
    assert!(said.contains("Make another recovery key: meadow node keys recovery node-1"), "{said}");

    story.progress.line("the stick that is left in boots the disk that it names");
    story.wait_stage(&[1], "unlock waiting node-1");

    story.progress.line("node-1 boots from its disk without the stick; node-2 restarts with a token that is used up");
    let machine = story.site.rack_mut().machine(1).expect("there");
    machine.power_off().expect("off");
    machine.pull_stick();
    machine.boot_from_disk();
    story.site.rack_mut().power_on(1).expect("power");
    story.site.rack_mut().machine(2).expect("there").reset().expect("reset");
    story.wait_stage(&[1], "dropbear");
    let opened = story.unlock("node-1", PASSPHRASE);
    assert!(opened.status.success(), "{opened:?}");
    let pending = |site: &mut Site| Ok(site.cluster().machines()?.into_iter().find(|m| m.phase == "Pending"));
    let waits =
        story.site.until("a machine that waits for a person", BOOT, pending).expect("it asks without the token");
    assert!(waits.hints.iter().any(|hint| hint.contains("looks like node-2")), "{waits:?}");
    let code = waits.code.expect("a code");
    story.ok(&["--no-input", "machine", "approve", &waits.name, "--replaces", "node-2", "--code", &code, "--no-wait"]);
    story.wait_ready();
    assert_eq!(disk::digest(&story.stick(2)).expect("a digest"), written, "nobody writes to a stick");
    let after = node(&story, "node-1");
    let who = |node: NodeRow| (node.fingerprint, node.address);
    assert_eq!(who(after), who(before.clone()), "the same node");
    story.wait_stage(&[1], &own);
    // It was installed by what is on a stick, and gives a bad image up as the others do.
    rollout::a_broken_image_goes_back_by_itself(&mut story, 1, rollout::open);
    assert_eq!(rollout::slots(&story, "node-1"), ("a".to_owned(), "a".to_owned()));
    assert_eq!(who(node(&story, "node-1")), who(before), "the same node still");
}

/// The first digits of the digest of an image's root.
fn root(image: &Path) -> String {
    let manifest = fs::read(image.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    manifest["artifacts"]["root.img"]["sha256"].as_str().expect("a digest")[..12].to_owned()
}

/// That a machine has written this.
fn said(story: &Story, number: usize, text: &str) {
    let shown = story.site.rack().machines()[number - 1].serial().text_from(0).expect("a log");
    assert!(shown.contains(text), "no {text:?} in {shown}");
}

/// The boot server has a newer image than the sticks. One stick has no seed and finds its cluster by that server, when its cable
/// is in and the router is on, long after its start; the second one starts the server's image under Secure Boot, is in a VLAN too, cannot be
/// written, and is pulled; the third one is another builder's and keeps to its own.
#[test]
fn a_stick_asks_the_lan_and_starts_the_image_that_the_cluster_has_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let next = paths::image().with_file_name("image-next");
    let config = RackConfig::cycled(3, &[Firmware::BiosPxe, Firmware::UefiPxe]);
    let serves_next = SeedConfig { image: next.clone(), ..SeedConfig::default() };
    let mut story = Story::begin_with(&config, serves_next, folder.path());
    story.plug_in_stick(1, &[]);
    let tagged = format!("eth0.7={TAGGED}");
    let networks = ["--network", "*=dhcp", "--network", &tagged];
    let starts_next = ["--action", "network"];
    story.plug_in_stick(2, &[&["--token", "new", "--name", "node-2"][..], &starts_next, &networks].concat());
    story.site.rack_mut().machine(2).expect("there").protect_stick();
    story.plug_in_stick(3, &starts_next);
    let esp = Esp::open(&story.stick(3)).expect("an ESP");
    let initrd = esp.read("meadow/a/initrd").expect("an initrd");
    let others = forged::of_another_builder(&initrd, folder.path()).expect("another builder's");
    esp.write("meadow/a", "initrd", &others).expect("written");
    // With sums of his own; without any GRUB compares nothing.
    esp.write("meadow/a", "pc.sha256", b"").expect("written");
    drop(esp);
    let certificate = fs::read(paths::image().join("secureboot.cer")).expect("a certificate; `make image` makes it");
    story.site.rack_mut().machine(2).expect("there").enrol(&certificate).expect("enrolled");
    let mac = story.site.rack().machines()[0].hardware().mac.clone();
    story.site.cluster().arm(&mac, "node-1").expect("armed");

    story
        .progress
        .line("three machines boot from sticks; one of them is another builder's, one has no network at first");
    story.site.rack_mut().power_on_all().expect("power");
    pull_cable(story.site.rack_mut(), 1);
    story.wait_stage(&[3], "switch-root");
    said(&story, 3, "not signed by the key that this node's image was built with, so it is not started");
    said(&story, 3, "the stick's own image is taken");
    story.site.rack_mut().machine(3).expect("there").power_off().expect("off");
    story.wait_stage(&[2], "kexec 0.");
    story.wait_stage(&[2], "switch-root");
    story.progress.line("node-2 runs the image of the boot server, and its stick is pulled");
    story.site.rack_mut().machine(2).expect("there").tear_out_stick().expect("pulled");
    let all = |site: &mut Site| Ok(site.cluster().nodes()?.iter().all(NodeRow::is_ready).then_some(()));
    let joined = |site: &mut Site| Ok((site.cluster().nodes()?.len() == 3).then_some(()));
    story.progress.line("node-1 has no cable, then no DHCP, and waits on without a restart");
    wait_screen(story.site.rack_mut(), 1, &["this stick has no seed", "plug in a network cable"]);
    story.site.rack_mut().switch_router_off().expect("off");
    story.site.rack_mut().machine(1).expect("there").set_cable(true).expect("plugged in");
    wait_screen(story.site.rack_mut(), 1, &["no DHCP server answers yet; is the router on?"]);
    story.site.rack_mut().switch_router_on().expect("on");
    story.site.until("two nodes beside the seed", BOOT, joined).expect("joined");
    story.site.until("ready nodes", BOOT, all).expect("ready");
    assert_ne!(root(&next), root(&paths::image()), "run tests/make/image-variants");
    said(&story, 2, &format!("meadow: root verified {}", root(&next)));
    said(&story, 2, &format!("network eth0.7 {TAGGED} fixed"));
    said(&story, 1, "meadow: root verified slot a");
    assert_eq!(serial_text(story.site.rack(), 1).matches("meadow: init ").count(), 1, "it restarted");
}
