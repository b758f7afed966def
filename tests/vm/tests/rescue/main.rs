//! What helps nodes that something has happened to: a state that is lost, a reset.
//!
//! One test, one rack: each step needs the one before, and each boot costs time.

mod story;

use meadow_rack::progress::Progress;
use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig, Site};
use meadow_tests_vm::{Admin, BOOT};

use crate::story::Story;

#[test]
fn nodes_that_lost_their_state_or_were_reset_come_back_as_what_they_are() {
    let mut progress = Progress::default();
    let folder = tempfile::tempdir().expect("a folder");
    let admin = Admin::create(folder.path()).expect("a key");
    let config = SeedConfig { authorized_keys: vec![admin.public_key().expect("a key")], ..SeedConfig::default() };
    let site = Site::build(&RackConfig::cycled(2, &[Firmware::BiosPxe]), &config, &mut progress).expect("a site");
    let mut story = Story { site, admin, progress };
    story.site.arm_all().expect("armed");
    story.site.rack_mut().power_on_all().expect("power");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready nodes in RAM");
    story.progress.line("both are installed");
    ["node-1", "node-2"].into_iter().for_each(|node| story.install(node));
    [1, 2].into_iter().for_each(|number| story.power_off(number));

    story.progress.line("the header of node-1's state is destroyed");
    story.damage(1, "meadow-state", 8 << 20);
    for number in [1, 2] {
        story.site.rack_mut().machine(number).expect("there").boot_from_disk();
        story.power_on(number);
    }
    story.unlock(2);
    let before = story.wait_ready("node-2");

    story.progress.line("node-2 is reset, after its admin has seen what is erased");
    let refused = story.meadow(&["--no-input", "node", "reset", "node-2"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ERASED: the state of node-2 on the disk node-2"));
    let seed = story.meadow(&["node", "reset", "seed", "--yes", "--accept-risk=erase-state"]);
    assert!(String::from_utf8_lossy(&seed.stderr).contains("last-voter"), "{seed:?}");
    story.expect_restart(2);
    story.ok(&["node", "reset", "node-2", "--yes", "--accept-risk=erase-state"]);
    assert!(story.node("node-2").is_none(), "its key is refused");

    story.progress.line("node-1 comes back as a new machine and says what it was");
    story.wait_stage(1, "state lost node-1");
    let machine = story.wait_pending(1);
    let hints = machine.hints.join("\n");
    assert!(hints.contains("it was node-1 of this cluster") && hints.contains("LUKS2"), "{hints}");
    let code = machine.code.expect("a code");
    story.ok(&["--no-input", "machine", "approve", &machine.name, "--replaces", "node-1", "--code", &code, "--no-wait"]);
    story.wait_ready("node-1");

    story.progress.line("node-2's computer comes back as a new machine that says nothing");
    let machine = story.wait_pending(2);
    assert!(!machine.hints.iter().any(|hint| hint.contains("node-2")), "{machine:?}");
    assert_ne!(machine.fingerprint, Some(before.fingerprint), "another key");
}
