//! Blank machines become ready nodes, leave that state when they die, and come back as what they are.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use meadow_rack::cluster::{MachineRow, NodeRow};
use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site, host, paths, played_host};
use meadow_tests_vm::{BOOT, disk, milestone};
use serde_json::Value;

/// Three kinds of firmware.
const FIRMWARE: [Firmware; 3] = [Firmware::BiosPxe, Firmware::UefiPxe, Firmware::UefiHttp];
/// The promise: a machine that is killed leaves `Ready` within this time.
const LEAVES_READY: Duration = Duration::from_secs(30);
/// For what takes a few seconds when nothing is wrong.
const SOON: Duration = Duration::from_secs(60);

fn node(site: &Site, name: &str) -> NodeRow {
    let nodes = site.cluster().nodes().expect("the cluster answers");
    nodes.into_iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
}

fn wait_state(site: &mut Site, name: &str, state: &str, limit: Duration) {
    let result =
        site.until(&format!("{name} {state}"), limit, |site| Ok((node(site, name).state == state).then_some(())));
    result.unwrap_or_else(|error| panic!("{error:#}; it is {:?}", node(site, name)));
}

/// The machine that asks to enrol and waits for a person.
fn wait_pending(site: &mut Site) -> MachineRow {
    let pending =
        |site: &mut Site| Ok(site.cluster().machines()?.into_iter().find(|machine| machine.phase == "Pending"));
    site.until("a machine that waits for approval", BOOT, pending).expect("it comes back as a machine")
}

fn digests(site: &Site) -> Vec<String> {
    site.rack().machines().iter().map(|machine| disk::digest(&machine.hardware().disk).expect("a digest")).collect()
}

/// The digest of an artifact, as its image's manifest has it.
fn digest_of(image: &Path, artifact: &str) -> String {
    let text = fs::read_to_string(image.join("manifest.json")).expect("a manifest; tests/make/image-variants makes it");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    manifest["artifacts"][artifact]["sha256"].as_str().expect("a digest").to_owned()
}

/// One machine boots an image that was adopted, once, while the others boot the installed one.
fn boot_an_adopted_image(site: &mut Site, progress: &mut Progress) {
    progress.line("node-2 boots an image that was adopted, once");
    let next = paths::image_variant("image-next");
    let folder = next.canonicalize().expect("tests/make/image-variants builds it").display().to_string();
    let added = site.cluster().run(&["image", "add", &folder, "-o", "json"]).expect("adopted");
    let added: Value = serde_json::from_str(&added).expect("JSON");
    let image = added["metadata"]["name"].as_str().expect("a name");
    let mac = site.rack().machines()[1].hardware().mac.clone();
    let (wanted, usual) = (digest_of(&next, "root.img"), digest_of(&paths::image(), "root.img"));
    assert_ne!(wanted, usual);
    site.cluster().run(&["machine", "boot", &mac, "image", "--image", image, "--once"]).expect("set");
    for digest in [&wanted, &usual] {
        site.rack_mut().power_on(2).expect("power");
        let verified = site.until("a root", BOOT, |site| milestone(&site.rack().machines()[1], "root verified "));
        let verified = verified.expect("it boots");
        assert!(verified.contains(&digest[..12]), "{verified}, and not {digest}");
        if *digest == wanted {
            // It is served whole: the agent of that image asks to enrol.
            wait_pending(site);
        }
        site.rack_mut().machine(2).expect("there").power_off().expect("off");
    }
}

#[test]
fn from_bare_machines_to_nodes_and_back_again() {
    let before = host::snapshot().expect("a look");
    played_host::unchanged_by(become_nodes_and_come_back).expect("a played host that stays as it was");
    assert_eq!(host::snapshot().expect("a look"), before, "the host is not as it was");
}

fn become_nodes_and_come_back() {
    let listeners = host::listeners().expect("a look");
    let mut progress = Progress::default();
    let mut site =
        Site::build(&RackConfig::cycled(3, &FIRMWARE), &SeedConfig::default(), &mut progress).expect("a site");
    disk::put_foreign_data(&site.rack().machines()[0].hardware().disk).expect("data");
    let before = digests(&site);

    site.arm_all().expect("armed");
    site.rack_mut().power_on_all().expect("power");
    site.wait_ready(BOOT, &mut progress).expect("ready nodes that reach each other by name");

    // All that the host sees of it: the way to the API, on the loopback.
    let mut new = host::listeners().expect("a look");
    new.retain(|line| !listeners.contains(line));
    assert!(new.len() == 1 && new[0].contains(&format!(" {} ", site.seed().api())), "{new:?}");

    progress.line("the seed's agent is killed and comes back");
    site.restart_agent().expect("it comes back");
    site.wait_ready(SOON, &mut progress).expect("ready again, without a new enrolment");

    progress.line("node-2 is killed");
    site.rack_mut().machine(2).expect("there").power_off().expect("killed");
    wait_state(&mut site, "node-2", "NotReady", LEAVES_READY);

    progress.line("node-1 reboots: its key was in RAM");
    let old = node(&site, "node-1");
    site.rack_mut().machine(1).expect("there").reset().expect("reset");
    let machine = wait_pending(&mut site);
    assert!(machine.hints.iter().any(|hint| hint.contains("looks like node-1")), "{machine:?}");
    wait_state(&mut site, "node-1", "Lost", SOON);

    progress.line("a person lets it take over the lost node's name");
    let code = machine.code.expect("a code");
    let approve =
        ["--no-input", "machine", "approve", &machine.name, "--replaces", "node-1", "--code", &code, "--no-wait"];
    site.cluster().run(&approve).expect("approved");
    wait_state(&mut site, "node-1", "Ready", SOON);
    assert_ne!(node(&site, "node-1").fingerprint, old.fingerprint);
    assert_eq!(node(&site, "node-1").address, old.address);

    boot_an_adopted_image(&mut site, &mut progress);
    site.rack_mut().machine(1).expect("there").power_off().expect("off");
    site.rack_mut().machine(2).expect("there").power_off().expect("off");
    site.rack_mut().machine(3).expect("there").power_off().expect("off");
    assert_eq!(digests(&site), before, "somebody wrote to a machine's disk");
}
