//! What helps nodes that something has happened to: a header or a whole state that is lost, a system that is damaged, an
//! update and a support bundle by a stick, a reset; from afar and at their own consoles.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

mod console;
mod header;
mod steps;
mod stick;

use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig};
use meadow_tests_vm::story::Story;

use crate::steps::{damage, expect_restart, node, unlock, wait_pending, wait_ready, wait_slots};

#[test]
fn nodes_that_something_has_happened_to_come_back_as_what_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let machines = RackConfig::cycled(3, &[Firmware::BiosPxe]);
    let mut story = Story::begin_with(&machines, SeedConfig::default(), folder.path());
    story.site.arm_all().expect("armed");
    story.site.rack_mut().power_on_all().expect("power");
    story.wait_ready();
    let before = node(&story, "node-2").expect("a node");
    story.progress.line("two are installed from afar, one at its own console, and a header is backed up");
    ["node-1", "node-2"].into_iter().for_each(|node| drop(story.install(node)));
    let recovery_key = console::installs(&mut story, 3);
    let backup = header::back_up(&mut story, "node-1");
    story.wait_stage(&[3], "unlock waiting");
    let opened = story.unlock("node-3", &recovery_key);
    assert!(opened.status.success(), "{opened:?}");
    for number in [1, 2] {
        story.site.rack_mut().machine(number).expect("there").power_off().expect("off");
    }

    story.progress.line("the header of node-1's state is destroyed, and all that node-2 boots from");
    damage(&story, 1, "meadow-state", 8 << 20);
    let system = ["meadow-bios", "meadow-esp", "meadow-root-a", "meadow-root-b"];
    system.into_iter().for_each(|partition| damage(&story, 2, partition, 1 << 20));
    let order = story.begin(&["node", "reinstall", "node-2", "--yes", "--accept-risk=reinstall"]);
    stick::plug_in(&mut story, 2);
    story.site.rack_mut().machine(1).expect("there").boot_from_disk();
    [1, 2].into_iter().for_each(|number| story.site.rack_mut().power_on(number).expect("power"));

    story.progress.line("the backup of node-1's header is put back");
    header::restore(&mut story, 1, &backup);
    unlock(&mut story, 1);
    story.progress.line("node-2 boots over the network once, and from its disk again, with its own state");
    unlock(&mut story, 2);
    expect_restart(&mut story, 2);
    let ended = order.wait_with_output().expect("meadow ends");
    assert!(ended.status.success(), "{ended:?}");
    unlock(&mut story, 2);
    let after = wait_ready(&mut story, "node-2");
    assert_eq!((after.fingerprint, after.address), (before.fingerprint.clone(), before.address), "the same node");
    wait_slots(&mut story, "node-2", ("a", "a"));

    wait_ready(&mut story, "node-1");
    wait_ready(&mut story, "node-3");

    stick::takes_a_bundle(&mut story);
    stick::updates(&mut story);

    story.progress.line("node-1's header is destroyed again; it comes back as a new machine and says what it was");
    story.site.rack_mut().machine(1).expect("there").power_off().expect("off");
    damage(&story, 1, "meadow-state", 8 << 20);
    story.site.rack_mut().power_on(1).expect("power");
    story.wait_stage(&[1], "state lost node-1");
    let machine = wait_pending(&mut story, 1);
    let hints = machine.hints.join("\n");
    assert!(hints.contains("it was node-1 of this cluster") && hints.contains("LUKS2"), "{hints}");
    let code = machine.code.expect("a code");
    story.ok(&[
        "--no-input",
        "machine",
        "approve",
        &machine.name,
        "--replaces",
        "node-1",
        "--code",
        &code,
        "--no-wait",
    ]);

    story.progress.line("node-2 is reset, after its admin has seen what is erased");
    let refused = story.meadow(&["--no-input", "node", "reset", "node-2"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ERASED: the state of node-2 on the disk node-2"));
    let seed = story.meadow(&["node", "reset", "seed", "--yes", "--accept-risk=erase-state"]);
    assert!(String::from_utf8_lossy(&seed.stderr).contains("last-voter"), "{seed:?}");
    expect_restart(&mut story, 2);
    story.ok(&["node", "reset", "node-2", "--yes", "--accept-risk=erase-state"]);
    assert!(node(&story, "node-2").is_none(), "its key is refused");
    let machine = wait_pending(&mut story, 2);
    assert!(!machine.hints.iter().any(|hint| hint.contains("node-2")), "nothing tells what it was: {machine:?}");
    assert_ne!(machine.fingerprint, Some(before.fingerprint), "another key");

    story.progress.line("node-3 is reset at its own console, and its cluster hears of it");
    let before = node(&story, "node-3").expect("a node").fingerprint;
    console::resets(&mut story, 3);
    let machine = wait_pending(&mut story, 3);
    assert!(node(&story, "node-3").is_none(), "its key is refused");
    assert!(!machine.hints.iter().any(|hint| hint.contains("node-3")), "nothing tells what it was: {machine:?}");
    assert_ne!(machine.fingerprint, Some(before), "another key");
    wait_ready(&mut story, "node-1");
}
