//! A disk that vanishes while a node is installed onto it. Slow: `make soak` runs it.

use std::process::Child;

use meadow_rack::seed::SeedConfig;
use meadow_rack::{Firmware, RackConfig};
use meadow_tests_vm::BOOT;
use meadow_tests_vm::story::{PASSPHRASE, Story};

fn begin(story: &Story) -> Child {
    let file = story.file("passphrase", PASSPHRASE).display().to_string();
    let what = ["node", "install", "node-1", "--disk", "node-1", "--no-reboot"];
    story.begin(&[&what[..], &["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file]].concat())
}

#[test]
fn a_disk_that_vanishes_is_told_and_the_installation_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = RackConfig::cycled(1, &[Firmware::BiosPxe]);
    let mut story = Story::begin_with(&config, SeedConfig::default(), folder.path());
    story.site.arm_all().expect("armed");
    story.site.rack_mut().power_on_all().expect("power");
    story.wait_ready();

    story.progress.line("the disk is torn out while the system is written to it");
    let installs = begin(&story);
    let writes = story.site.until("the system to be written", BOOT, |site| {
        let output = site.seed().meadow()?.args(["operation", "ls", "-o", "json"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("writes the system").then_some(()))
    });
    writes.expect("it begins");
    story.site.rack_mut().machine(1).expect("there").tear_out_disk().expect("torn out");
    let failed = installs.wait_with_output().expect("meadow ends");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(said.contains("/dev/vda") && (said.contains("check the disk") || said.contains("Plug it in")), "{said}");
    story.wait_shown("node-1", "Ready");
    let refused = begin(&story).wait_with_output().expect("meadow ends");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has no disk with the serial number"), "{refused:?}");

    story.progress.line("it is there again, with half a system on it, and is installed");
    story.site.rack_mut().machine(1).expect("there").power_off().expect("off");
    let mac = story.site.rack().machines()[0].hardware().mac.clone();
    story.ok(&["machine", "arm", &mac, "--replaces", "node-1"]);
    story.site.rack_mut().power_on(1).expect("power");
    story.wait_ready();
    let installed = begin(&story).wait_with_output().expect("meadow ends");
    assert!(installed.status.success(), "{installed:?}");
}
