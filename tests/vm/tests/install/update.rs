//! Images that are rolled out over installed nodes: a good one, and one that does not boot.

use std::path::{Path, PathBuf};
use std::process::{Child, Output};

use meadow_rack::paths;
use meadow_tests_vm::BOOT;
use serde_json::Value;

use meadow_tests_vm::story::{PASSPHRASE, Story};

/// The image of that name beside the one that machines boot; `tests/make/image-variants` builds them.
fn variant(name: &str) -> PathBuf {
    let folder = paths::image_variant(name);
    folder.canonicalize().unwrap_or_else(|e| panic!("{}: {e}; run tests/make/image-variants", folder.display()))
}

/// Brings an image to the cluster; its name.
fn add(story: &Story, folder: &Path) -> String {
    let text = story.ok(&["image", "add", &folder.display().to_string(), "-o", "json"]);
    let image: Value = serde_json::from_str(&text).expect("JSON");
    image["metadata"]["name"].as_str().expect("a name").to_owned()
}

fn begin_rollout(story: &Story, image: &str) -> Child {
    story.begin(&["image", "rollout", image, "--yes", "--accept-risk=restart-nodes", "--timeout", "10m"])
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("meadow ends")
}

/// What a node says of its own disk.
fn slots(story: &Story, node: &str) -> (String, String) {
    let text = story.ok(&["node", "show", node, "-o", "json"]);
    let node: Value = serde_json::from_str(&text).expect("JSON");
    let of = |field: &str| node["status"]["installed"][field].as_str().unwrap_or("-").to_owned();
    (of("running"), of("blessed"))
}

/// Waits until a machine that restarts by itself asks for its passphrase, and opens it.
pub(crate) fn open(story: &mut Story, number: usize) {
    story.wait_stage(&[number], "dropbear");
    let opened = story.unlock(&format!("node-{number}"), PASSPHRASE);
    assert!(opened.status.success(), "{opened:?}");
}

fn expect_restart(story: &mut Story, number: usize) {
    story.site.rack_mut().machine(number).expect("there").expect_restart();
}

/// The name of that image.
pub(crate) fn roll_out_a_good_image(story: &mut Story) -> String {
    story.progress.line("an image that is not signed, and one that was cut off, are refused");
    refuse_bad_images(story);
    story.progress.line("a new image is rolled out, one node after the other");
    let image = add(story, &variant("image-next"));
    [1, 2].into_iter().for_each(|number| expect_restart(story, number));
    let rollout = begin_rollout(story, &image);
    open(story, 1);
    // The new image is signed for the TPM too: nobody is asked, and nothing was enrolled.
    story.wait_stage(&[2], "unlocked tpm2 slot 3 by the TPM");
    let output = ended(rollout);
    assert!(output.status.success(), "{output:?}");
    for node in ["node-1", "node-2"] {
        assert_eq!(slots(story, node), ("b".to_owned(), "b".to_owned()), "{node}");
    }
    let listed: Value = serde_json::from_str(&story.ok(&["image", "show", &image, "-o", "json"])).expect("JSON");
    assert_eq!(listed["status"]["nodes"], serde_json::json!(["node-1", "node-2"]), "{listed}");
    assert!(listed["status"]["rolled_out"].is_string(), "{listed}");
    image
}

/// `meadow image rollback`, and the new image once more. Four boots: `make soak` only.
pub(crate) fn all_go_back_and_forth(story: &mut Story, image: &str) {
    story.progress.line("all nodes go back to the image before, and forth again");
    let back = ["image", "rollback", "--yes", "--accept-risk=restart-nodes", "--timeout", "10m"];
    let forth = ["image", "rollout", image, "--yes", "--accept-risk=restart-nodes", "--timeout", "10m"];
    for (order, slot) in [(&back[..], "a"), (&forth[..], "b")] {
        [1, 2].into_iter().for_each(|number| expect_restart(story, number));
        let rollout = story.begin(order);
        open(story, 1);
        let output = ended(rollout);
        assert!(output.status.success(), "{output:?}");
        for node in ["node-1", "node-2"] {
            assert_eq!(slots(story, node), (slot.to_owned(), slot.to_owned()), "{node}");
        }
    }
}

fn refuse_bad_images(story: &Story) {
    let whole = variant("image-next");
    let bad = story.site.rack().run().file("bad-image");
    std::fs::create_dir_all(&bad).expect("a folder");
    let copy = |name: &str| std::fs::copy(whole.join(name), bad.join(name)).expect("copied");
    ["manifest.json", "manifest.json.sig", "initrd"].into_iter().for_each(|name| _ = copy(name));
    let manifest = std::fs::read_to_string(bad.join("manifest.json")).expect("text");
    std::fs::write(bad.join("manifest.json"), manifest.replace("\"version\": 1", "\"version\":  1")).expect("written");
    let folder = bad.display().to_string();
    let unsigned = story.meadow(&["image", "add", &folder]);
    assert_eq!(unsigned.status.code(), Some(4), "{unsigned:?}");
    assert!(String::from_utf8_lossy(&unsigned.stderr).contains("not signed by the key"), "{unsigned:?}");
    copy("manifest.json");
    ["grub", "secureboot.cer", "vmlinuz", "uki.efi", "uki.efi.sig", "ipxe", "root.img"].into_iter().for_each(|name| {
        std::os::unix::fs::symlink(whole.join(name), bad.join(name)).expect("linked");
    });
    let initrd = std::fs::File::options().write(true).open(bad.join("initrd")).expect("opened");
    initrd.set_len(1 << 20).expect("cut off");
    let cut = story.meadow(&["image", "add", &folder]);
    assert!(!cut.status.success(), "{cut:?}");
    assert!(String::from_utf8_lossy(&cut.stderr).contains("shorter than its manifest says"), "{cut:?}");
}

pub(crate) fn a_broken_image_goes_back_by_itself(story: &mut Story) {
    story.progress.line("an image that does not boot is given up without a hand on the node");
    let image = add(story, &variant("image-broken"));
    let before = story.site.rack_mut().machine(1).expect("there").serial().len();
    expect_restart(story, 1);
    let rollout = begin_rollout(story, &image);
    open(story, 1);
    let output = ended(rollout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("node-1") && said.contains("went back"), "{said}");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready once more");
    for node in ["node-1", "node-2"] {
        assert_eq!(slots(story, node), ("b".to_owned(), "b".to_owned()), "{node}");
    }
    let serial = story.site.rack_mut().machine(1).expect("there").serial().text_from(before).expect("read");
    assert_eq!(serial.matches("GRUB loading").count(), 2, "the broken image, and the one before");
}
