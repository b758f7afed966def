//! Images that are rolled out over installed nodes: a good one, and one that does not boot.

use meadow_tests_vm::rollout::{self, add, begin, ended, open, slots, variant, wait_restart};
use meadow_tests_vm::story::Story;
use serde_json::Value;

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
    let rollout = begin(story, &image);
    open(story, 1);
    // The new image is signed for the TPM too: nobody is asked, and nothing was enrolled.
    wait_restart(story, 2);
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
    let back = ["image", "rollback", "--yes", "--accept-risk=restart-nodes", "--timeout", "30m"];
    let forth = ["image", "rollout", image, "--yes", "--accept-risk=restart-nodes", "--timeout", "30m"];
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
    rollout::a_broken_image_goes_back_by_itself(story, 1, open);
    for node in ["node-1", "node-2"] {
        assert_eq!(slots(story, node), ("b".to_owned(), "b".to_owned()), "{node}");
    }
}
