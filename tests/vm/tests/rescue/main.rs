//! What helps nodes that something has happened to: a state that is lost, a system that is damaged, an update and a support
//! bundle by a stick, a reset.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

mod stick;
mod story;

use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site};
use meadow_tests_vm::{Admin, BOOT};

use crate::story::Story;

#[test]
fn nodes_that_something_has_happened_to_come_back_as_what_they_are() {
    let mut progress = Progress::default();
    let folder = tempfile::tempdir().expect("a folder");
    let admin = Admin::create(folder.path()).expect("a key");
    let config = SeedConfig { authorized_keys: vec![admin.public_key().expect("a key")], ..SeedConfig::default() };
    let site = Site::build(&RackConfig::cycled(2, &[Firmware::BiosPxe]), &config, &mut progress).expect("a site");
    let mut story = Story { site, admin, progress };
    story.site.arm_all().expect("armed");
    story.site.rack_mut().power_on_all().expect("power");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready nodes in RAM");
    let before = story.node("node-2").expect("a node");
    story.progress.line("both are installed");
    ["node-1", "node-2"].into_iter().for_each(|node| story.install(node));
    [1, 2].into_iter().for_each(|number| story.power_off(number));

    story.progress.line("the header of node-1's state is destroyed, and all that node-2 boots from");
    story.damage(1, "meadow-state", 8 << 20);
    ["meadow-bios", "meadow-esp", "meadow-root-a", "meadow-root-b"]
        .into_iter()
        .for_each(|partition| story.damage(2, partition, 1 << 20));
    let order = story.begin(&["node", "reinstall", "node-2", "--yes", "--accept-risk=reinstall"]);
    stick::plug_in(&mut story, 2);
    story.site.rack_mut().machine(1).expect("there").boot_from_disk();
    [1, 2].into_iter().for_each(|number| story.power_on(number));

    story.progress.line("node-2 boots over the network once, and from its disk again, with its own state");
    story.unlock(2);
    story.expect_restart(2);
    let ended = order.wait_with_output().expect("meadow ends");
    assert!(ended.status.success(), "{ended:?}");
    story.unlock(2);
    let after = story.wait_ready("node-2");
    assert_eq!((after.fingerprint, after.address), (before.fingerprint.clone(), before.address), "the same node");
    story.wait_slots("node-2", ("a", "a"));

    story.progress.line("node-1 comes back as a new machine and says what it was");
    story.wait_stage(1, "state lost node-1");
    let machine = story.wait_pending(1);
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

    stick::takes_a_bundle(&story);
    stick::updates(&mut story);

    story.progress.line("node-2 is reset, after its admin has seen what is erased");
    let refused = story.meadow(&["--no-input", "node", "reset", "node-2"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ERASED: the state of node-2 on the disk node-2"));
    let seed = story.meadow(&["node", "reset", "seed", "--yes", "--accept-risk=erase-state"]);
    assert!(String::from_utf8_lossy(&seed.stderr).contains("last-voter"), "{seed:?}");
    story.expect_restart(2);
    story.ok(&["node", "reset", "node-2", "--yes", "--accept-risk=erase-state"]);
    assert!(story.node("node-2").is_none(), "its key is refused");
    let machine = story.wait_pending(2);
    assert!(!machine.hints.iter().any(|hint| hint.contains("node-2")), "nothing tells what it was: {machine:?}");
    assert_ne!(machine.fingerprint, Some(before.fingerprint), "another key");
    story.wait_ready("node-1");
}
