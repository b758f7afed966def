//! Images that are rolled out over installed nodes. Whatever does not work panics: these are steps of tests.

use std::path::{Path, PathBuf};
use std::process::{Child, Output};

use meadow_rack::{Firmware, paths};
use serde_json::Value;

use crate::story::{PASSPHRASE, Story};
use crate::{BOOT, serial_text};

/// What GRUB says of the system on the disk that it starts.
const SYSTEM: &str = "Meadow: slot ";

/// The image of that name beside the one that machines boot; `tests/make/image-variants` builds them.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn variant(name: &str) -> PathBuf {
    let folder = paths::image_variant(name);
    folder.canonicalize().unwrap_or_else(|e| panic!("{}: {e}; run tests/make/image-variants", folder.display()))
}

/// Brings an image to the cluster; its name.
///
/// # Panics
/// When it is refused.
#[must_use]
pub fn add(story: &Story, folder: &Path) -> String {
    let text = story.ok(&["image", "add", &folder.display().to_string(), "-o", "json"]);
    let image: Value = serde_json::from_str(&text).expect("JSON");
    image["metadata"]["name"].as_str().expect("a name").to_owned()
}

/// Begins to roll an image out. The limit is for what hangs: three racks at once on a build machine are slow.
#[must_use]
pub fn begin(story: &Story, image: &str) -> Child {
    story.begin(&["image", "rollout", image, "--yes", "--accept-risk=restart-nodes", "--timeout", "30m"])
}

/// How a rollout ended.
///
/// # Panics
/// When nobody knows.
#[must_use]
pub fn ended(child: Child) -> Output {
    child.wait_with_output().expect("meadow ends")
}

/// The running and the blessed slot, as a node says of its own disk.
///
/// # Panics
/// When the cluster does not tell.
#[must_use]
pub fn slots(story: &Story, node: &str) -> (String, String) {
    let text = story.ok(&["node", "show", node, "-o", "json"]);
    let node: Value = serde_json::from_str(&text).expect("JSON");
    let of = |field: &str| node["status"]["installed"][field].as_str().unwrap_or("-").to_owned();
    (of("running"), of("blessed"))
}

/// Waits until a machine that restarts by itself starts the system on its disk. Before a rollout restarts a node it brings it the
/// image, which takes as long as a boot: what comes after the restart has a limit of its own.
///
/// # Panics
/// When it does not restart.
pub fn wait_restart(story: &mut Story, number: usize) {
    wait_for_starts(story, number, SYSTEM, 1, "a restart from the disk");
}

/// Waits until a machine that restarts by itself asks for its passphrase, and opens it.
///
/// # Panics
/// When it does not ask, or is not opened.
pub fn open(story: &mut Story, number: usize) {
    wait_restart(story, number);
    story.wait_stage(&[number], "dropbear");
    let opened = story.unlock(&format!("node-{number}"), PASSPHRASE);
    assert!(opened.status.success(), "{opened:?}");
}

/// Rolls an image out whose kernel panics. The first node to try it, `number`, goes back by itself; `comes_back` is what has to be
/// done for it then, and what it has to reach.
///
/// # Panics
/// When it does not go back, or the rollout ends in another way.
pub fn a_broken_image_goes_back_by_itself(
    story: &mut Story,
    number: usize,
    comes_back: impl FnOnce(&mut Story, usize),
) {
    story.progress.line("an image that does not boot is given up without a hand on the node");
    let image = add(story, &variant("image-broken"));
    let machine = story.site.rack_mut().machine(number).expect("there");
    // On UEFI GRUB names only the slot, and again where that cannot be loaded.
    let starts = if machine.hardware().firmware == Firmware::BiosPxe { "GRUB loading" } else { SYSTEM };
    machine.expect_restart();
    let rollout = begin(story, &image);
    for (count, what) in [(1, "the start of the broken image"), (2, "the start of the one before")] {
        wait_for_starts(story, number, starts, count, what);
    }
    comes_back(story, number);
    let output = ended(rollout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("node-{number}")) && said.contains("went back"), "{said}");
    story.wait_ready();
    let serial = story.site.rack_mut().machine(number).expect("there").boot_text().expect("read");
    assert_eq!(serial.matches(starts).count(), 2, "the broken image, and the one before: {serial}");
}

/// A kernel that panics counts ten seconds before it restarts the machine, which under emulation take minutes where others want
/// the processors too.
fn wait_for_starts(story: &mut Story, number: usize, text: &str, count: usize, what: &str) {
    let started = story.site.until(what, BOOT, |site| {
        let serial = site.rack_mut().machine(number)?.boot_text()?;
        Ok((serial.matches(text).count() >= count).then_some(()))
    });
    started.unwrap_or_else(|error| panic!("{error:#}; {:?}", serial_text(story.site.rack(), number)));
}
