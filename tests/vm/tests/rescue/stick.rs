//! A stick with a newer image in an installed node: nothing happens by itself, and both ways it helps.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use meadow_rack::paths;
use meadow_rack::qemu::stick_serial;
use meadow_tests_vm::esp::Esp;
use meadow_tests_vm::story::{PASSPHRASE, Story};

use crate::console;
use crate::steps::{unlock, wait_slots};

const NODE: &str = "node-2";

fn file(story: &Story) -> PathBuf {
    story.site.rack().run().file("node-2.stick")
}

/// Writes a stick with the next image, and plugs it in where the firmware tries it last.
pub(crate) fn plug_in(story: &mut Story, number: usize) {
    let image = paths::image().with_file_name("image-next").join("stick.img");
    let image =
        image.canonicalize().unwrap_or_else(|e| panic!("{}: {e}; run tests/make/image-variants", image.display()));
    let (to, image) = (file(story).display().to_string(), image.display().to_string());
    story.ok(&["image", "flash", "--to", &to, "--image", &image]);
    let stick = file(story);
    story.site.rack_mut().machine(number).expect("there").plug_in_behind(stick);
}

/// A support bundle of the node goes onto it.
pub(crate) fn takes_a_bundle(story: &mut Story) {
    story.progress.line("a support bundle goes onto the stick that is plugged in");
    let nowhere = story.meadow(&["support", "bundle", NODE, "--stick", "nobody's"]);
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("is the stick plugged in"), "{nowhere:?}");
    story.ok(&["support", "bundle", NODE, "--stick", &stick_serial(NODE)]);
    let esp = Esp::open(&file(story)).expect("a file system");
    let names = esp.names().expect("names");
    let name =
        names.iter().find(|name| name.starts_with("meadow-support-node-2-")).unwrap_or_else(|| panic!("{names:?}"));
    let bundle = story.site.rack().run().file("bundle.tar.gz");
    fs::write(&bundle, esp.read(name).expect("a bundle")).expect("copied");
    let unpacked = Command::new("tar").arg("-xzOf").arg(&bundle).output().expect("tar");
    let text = String::from_utf8_lossy(&unpacked.stdout);
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    for told in ["\"firmware\": \"bios\"", "Linux version", "meadow-preboot", "wireguard.key", "enrolled", "meadow0"] {
        assert!(text.contains(told), "{told} is missing");
    }
    for secret in [PASSPHRASE, "PRIVATE KEY", "meadow-join."] {
        assert!(!text.contains(secret), "{secret} is in it");
    }
}

/// The node is updated from it, without a rollout.
pub(crate) fn updates(story: &mut Story) {
    story.progress.line("node-2 is updated from the stick that is plugged in, at its own console");
    let disk = story.meadow(&["node", "update", NODE, "--stick", NODE, "--yes", "--accept-risk=restart-node"]);
    assert!(String::from_utf8_lossy(&disk.stderr).contains("is no Meadow stick"), "{disk:?}");
    console::updates(story, 2);
    story.wait_stage(&[2], "unlock waiting");
    console::watches(story, 3, NODE);
    unlock(story, 2);
    wait_slots(story, NODE, ("b", "b"));
}
