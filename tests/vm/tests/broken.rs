//! A node that was installed under Secure Boot, on a machine whose firmware trusts no other key, and whose TPM opens its state:
//! an image that does not boot is given up without a hand on the node and without a passphrase, and the next good one is taken.
//! The same on a BIOS is in `make test`; this one is slow: `make soak` runs it.

use std::fs;

use meadow_rack::seed::SeedConfig;
use meadow_rack::tpm::Tpm;
use meadow_rack::{Firmware, RackConfig, paths};
use meadow_tests_vm::milestone;
use meadow_tests_vm::rollout::{self, add, begin, ended, slots, variant, wait_restart};
use meadow_tests_vm::story::{PASSPHRASE, Story};

const BY_ITSELF: &str = "unlocked tpm2 slot 2 by the TPM";

#[test]
fn under_secure_boot_a_tpm_opens_the_image_before_once_more_after_one_that_does_not_boot() {
    let folder = tempfile::tempdir().expect("a folder");
    let without_pxe = SeedConfig { pxe: false, ..SeedConfig::default() };
    let mut story = Story::begin_with(&RackConfig::cycled(1, &[Firmware::UefiPxe]), without_pxe, folder.path());
    let certificate = fs::read(paths::image().join("secureboot.cer")).expect("a certificate; `make image` makes it");
    let chip = Tpm::in_folder(&story.site.rack().run().file("node-1.tpm")).expect("a TPM");
    let machine = story.site.rack_mut().machine(1).expect("there");
    machine.enrol(&certificate).expect("enrolled");
    machine.plug_in_tpm(chip);

    story.progress.line("it boots from a stick and is installed");
    story.plug_in_stick(1, &["--token", "new", "--name", "node-1"]);
    story.site.rack_mut().power_on(1).expect("power");
    story.wait_ready();
    drop(story.install("node-1"));

    story.progress.line("it boots from its disk, and its TPM is given a key");
    let machine = story.site.rack_mut().machine(1).expect("there");
    machine.power_off().expect("off");
    machine.pull_stick();
    machine.boot_from_disk();
    story.site.rack_mut().power_on(1).expect("power");
    rollout::open(&mut story, 1);
    story.wait_ready();
    story.wait_shown("node-1", "Secure Boot on");
    let added = story.add_tpm("node-1", PASSPHRASE);
    assert!(added.status.success(), "{added:?}");
    story.wait_shown("node-1", "Key 2: TPM by itself");
    let who = |story: &Story| story.nodes().into_iter().map(|n| (n.name, n.fingerprint, n.address)).collect::<Vec<_>>();
    let before = who(&story);

    rollout::a_broken_image_goes_back_by_itself(&mut story, 1, opens_by_itself);
    assert_eq!(slots(&story, "node-1"), ("a".to_owned(), "a".to_owned()));
    story.wait_shown("node-1", "from slot b, whose image did not start");
    assert_eq!(who(&story), before, "the same node");

    story.progress.line("an image that boots takes the broken one's place");
    let image = add(&story, &variant("image-next"));
    story.site.rack_mut().machine(1).expect("there").expect_restart();
    let rollout = begin(&story, &image);
    wait_restart(&mut story, 1);
    opens_by_itself(&mut story, 1);
    let output = ended(rollout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(slots(&story, "node-1"), ("b".to_owned(), "b".to_owned()));
    assert!(!story.shown("node-1").contains("whose image did not start"), "{}", story.shown("node-1"));
    assert_eq!(who(&story), before, "the same node still");
}

/// Nobody is asked for anything.
fn opens_by_itself(story: &mut Story, number: usize) {
    story.wait_stage(&[number], BY_ITSELF);
    let asked = milestone(&story.site.rack().machines()[number - 1], "unlock waiting").expect("a log");
    assert_eq!(asked, None, "somebody was asked");
}
