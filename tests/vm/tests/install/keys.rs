//! Keys of a node's state, changed by its admin while it runs.

use std::fs;
use std::path::Path;

use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{Admin, BOOT};
use serde_json::Value;

const NODE: &str = "node-1";
/// A passphrase that is added and removed.
pub(crate) const SECOND: &str = "another horse battery";
const PIN: &str = "4711";

/// Number and label of each key slot.
type Slots = Vec<(u64, String)>;

fn slots_in(text: &str) -> Option<Slots> {
    let disk: Value = serde_json::from_str(text).ok()?;
    let slot = |key: &Value| Some((key["slot"].as_u64()?, key["label"].as_str()?.to_owned()));
    disk["keys"].as_array()?.iter().map(slot).collect()
}

/// Waits until `meadow node keys ls` shows these: a node tells of itself every few seconds.
fn wait_slots(story: &mut Story, expected: &[(u64, &str)]) {
    let expected: Slots = expected.iter().map(|(slot, label)| (*slot, (*label).to_owned())).collect();
    let shown = story.site.until("the key slots", BOOT, |site| {
        let output = site.seed().meadow()?.args(["node", "keys", "ls", NODE, "-o", "json"]).output()?;
        Ok((slots_in(&String::from_utf8(output.stdout)?).as_ref() == Some(&expected)).then_some(()))
    });
    shown.unwrap_or_else(|error| panic!("{error:#}; {}", story.ok(&["node", "keys", "ls", NODE])));
}

/// Runs `meadow node keys` with what opens the state; how it ended and what it told.
fn keys(story: &Story, opened_by: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let file = story.file("existing", opened_by).display().to_string();
    let output = story.meadow(&[&["--no-input", "node", "keys"], arguments, &["--passphrase-file", &file]].concat());
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A passphrase in the place of another one, a recovery key in the place of the one that was shown at the installation, and
/// the first passphrase again. Gives the new recovery key.
pub(crate) fn are_changed(story: &mut Story, recovery: &str) -> String {
    wait_slots(story, &[(0, "passphrase"), (1, "recovery key")]);
    let new = story.file("new", SECOND).display().to_string();
    let add = ["add", NODE, "--label", "second", "--new-passphrase-file", &new];
    let (code, said) = keys(story, "a wrong passphrase", &add);
    assert!(code == Some(1) && said.contains("opens no slot"), "{said}");
    assert_eq!(keys(story, PASSPHRASE, &add).0, Some(0));
    wait_slots(story, &[(0, "passphrase"), (1, "recovery key"), (2, "second")]);

    let renewed = renew_recovery(story, recovery);

    let remove = ["--no-input", "node", "keys", "remove", NODE];
    let refused = story.meadow(&[&remove[..], &["0"]].concat());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let consent = ["--yes", "--accept-risk=remove-key"];
    story.ok(&[&remove[..], &["0"], &consent].concat());
    wait_slots(story, &[(2, "second"), (5, "recovery key")]);
    assert!(!opens(story, PASSPHRASE), "it was removed");

    let first = story.file("first", PASSPHRASE).display().to_string();
    let add = ["add", NODE, "--label", "passphrase", "--new-passphrase-file", &first];
    let (code, said) = keys(story, SECOND, &add);
    assert_eq!(code, Some(0), "{said}");
    story.ok(&[&remove[..], &["2"], &consent].concat());
    wait_slots(story, &[(0, "passphrase"), (5, "recovery key")]);
    renewed
}

fn renew_recovery(story: &mut Story, recovery: &str) -> String {
    let renew = ["recovery", NODE];
    let (code, said) = keys(story, SECOND, &renew);
    assert!(
        code == Some(2) && said.contains("nothing was done"),
        "somebody has to say that it is written down: {said}"
    );

    // Whoever was to read the key is gone: it is lost, and the old one opens.
    let file = story.file("existing", SECOND).display().to_string();
    let renew = ["--no-input", "node", "keys", "recovery", NODE, "--yes", "--passphrase-file", &file];
    let lost = story.meadow_to_nobody(&renew);
    let said = String::from_utf8_lossy(&lost.stderr);
    assert!(lost.status.code() == Some(1) && said.contains("nobody has the new recovery key"), "{said}");
    wait_slots(story, &[(0, "passphrase"), (1, "recovery key"), (2, "second"), (3, "recovery key")]);
    assert!(opens(story, recovery), "the old one opens until somebody has a new one");

    renewed_at_a_terminal(story, recovery)
}

/// At a terminal the older keys go once a person has typed the last group of the new one, and not before.
fn renewed_at_a_terminal(story: &mut Story, recovery: &str) -> String {
    let file = story.file("existing", SECOND).display().to_string();
    let renew = ["node", "keys", "recovery", NODE, "--passphrase-file", &file];
    let question = "Type its last group to remove the older one (nothing to keep both):";

    let mut unsure = story.begin_at_a_terminal(&renew);
    unsure.answer(question, "", BOOT).expect("it asks");
    let unsure = unsure.finish().expect("its end");
    let said = String::from_utf8_lossy(&unsure.stderr);
    assert!(unsure.status.code() == Some(2) && said.contains("both open the state"), "{said}");
    let kept = [(0, "passphrase"), (1, "recovery key"), (2, "second"), (3, "recovery key"), (4, "recovery key")];
    wait_slots(story, &kept);

    let mut sure = story.begin_at_a_terminal(&renew);
    sure.answer(question, "nonsense", BOOT).expect("it asks");
    let renewed = sure.first_line(BOOT).expect("a key");
    let last = renewed.rsplit('-').next().expect("a last group").to_ascii_lowercase();
    sure.answer(question, &last, BOOT).expect("it asks again");
    let sure = sure.finish().expect("its end");
    let said = String::from_utf8_lossy(&sure.stderr);
    assert!(sure.status.success() && said.contains("That is not its last group."), "{said}");
    assert!(!renewed.is_empty() && renewed != recovery && sure.stdout != unsure.stdout, "another key");
    wait_slots(story, &[(0, "passphrase"), (2, "second"), (5, "recovery key")]);
    assert!(!opens(story, recovery), "the old one is ended");
    renewed
}

/// Whether a key opens the state: a backup of the header is made only with one that does.
fn opens(story: &Story, secret: &str) -> bool {
    let file = story.site.rack().run().file("tried.header");
    let (code, said) = keys(story, secret, &["backup", NODE, "--to", &file.display().to_string()]);
    assert!(code == Some(0) || said.contains("opens no slot"), "{said}");
    if file.exists() {
        fs::remove_file(file).expect("removed");
    }
    code == Some(0)
}

/// Another SSH key in the place of the admin's, which a node that runs hears of. Gives the admin with the old one.
pub(crate) fn admin_gets_another_ssh_key(story: &mut Story, folder: &Path) -> Admin {
    let old = std::mem::replace(&mut story.admin, Admin::create(folder).expect("a key"));
    let listed = story.ok(&["cluster", "ssh-keys", "ls", "-o", "jsonpath={.items[*].fingerprint}"]);
    let file = story.file("new.pub", &story.admin.public_key().expect("a key")).display().to_string();
    story.ok(&["cluster", "ssh-keys", "add", &file]);
    story.ok(&["cluster", "ssh-keys", "remove", listed.trim()]);
    let behind = ["get", "cluster", "-o", "json"];
    let written = story.site.until("the new SSH key on the disks", BOOT, |site| {
        let output = site.seed().meadow()?.args(behind).output()?;
        let cluster: Value = serde_json::from_slice(&output.stdout)?;
        Ok(cluster["status"]["ssh_keys_behind"].is_null().then_some(()))
    });
    written.unwrap_or_else(|error| panic!("{error:#}; {}", story.ok(&behind)));
    old
}

/// A node that waits takes no command of who has the old key alone.
pub(crate) fn is_refused_to_the_old_ssh_key(story: &mut Story, old: Admin, node: &str) {
    let new = std::mem::replace(&mut story.admin, old);
    let refused = story.unlock(node, PASSPHRASE);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("Permission denied"), "{refused:?}");
    story.admin = new;
}

/// `meadow node keys add --tpm --pin`.
pub(crate) fn add_tpm_with_pin(story: &mut Story, node: &str, opened_by: &str) {
    let pin = story.file("pin", PIN).display().to_string();
    let (code, said) = keys(story, opened_by, &["add", node, "--tpm", "--pin", "--pin-file", &pin]);
    assert_eq!(code, Some(0), "{said}");
    story.wait_shown(node, "Key 2: TPM with PIN");
}

/// A node whose TPM wants its PIN asks, and its admin types it from afar. Afterwards its TPM opens by itself.
pub(crate) fn unlocks_with_its_pin(story: &mut Story, number: usize, recovery: &str) {
    let node = format!("node-{number}");
    story.wait_stage(&[number], "unlock waiting");
    let opened = story.unlock(&node, PIN);
    assert!(opened.status.success(), "{opened:?}");
    story.wait_stage(&[number], "unlocked tpm2 slot 2 by ssh");
    story.site.wait_ready(BOOT, &mut story.progress).expect("ready with its PIN");
    let added = story.add_tpm(&node, recovery);
    assert!(added.status.success(), "{added:?}");
    story.wait_shown(&node, "Key 3: TPM by itself");
}
