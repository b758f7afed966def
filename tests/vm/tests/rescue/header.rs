//! A backup of a node's LUKS header, made by its admin and put back over SSH.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{BOOT, address, milestone};

/// `meadow node keys backup`; the file.
pub(crate) fn back_up(story: &mut Story, node: &str) -> PathBuf {
    let file = story.site.rack().run().file(format!("{node}.header"));
    let (to, wrong) = (file.display().to_string(), story.file("wrong", "not this one").display().to_string());
    let passphrase = story.file("passphrase", PASSPHRASE).display().to_string();
    let command =
        |secret: &str| story.meadow(&["node", "keys", "backup", node, "--to", &to, "--passphrase-file", secret]);
    let refused = command(&wrong);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("opens no slot") && !file.exists(), "{refused:?}");
    let made = command(&passphrase);
    assert!(made.status.success(), "{made:?}");
    let about = fs::metadata(&file).expect("a backup");
    assert_eq!((about.permissions().mode() & 0o777, about.len()), (0o600, 16 << 20));
    let again = command(&passphrase);
    assert!(String::from_utf8_lossy(&again.stderr).contains("never overwritten"), "{again:?}");
    file
}

/// Puts it back while the node waits for it.
pub(crate) fn restore(story: &mut Story, number: usize, backup: &PathBuf) {
    let at = story.site.until("a node that waits for a backup", BOOT, |site| {
        let machine = site.rack_mut().machine(number)?;
        let waits = machine.serial().text_from(0)?.contains("for a backup of the header over SSH");
        milestone(machine, "network ")?.filter(|_| waits).map(|line| address(&line)).transpose()
    });
    let at = at.unwrap_or_else(|error| {
        panic!("{error:#}; {:?}", story.site.rack().machines()[number - 1].serial().text_from(0))
    });
    let from = story.site.seed().namespace().clone();
    let admin = &story.admin;
    let key = story.site.until("SSH", BOOT, |_| Ok(admin.fetch_host_key(&from, at).ok()));
    key.expect("a host key");
    let input = File::open(backup).expect("a backup");
    let restored = admin.ssh_command(&from, at, &[]).arg("restore-header").stdin(input).output().expect("ssh");
    let said = String::from_utf8_lossy(&restored.stdout);
    assert!(restored.status.success() && said.contains("the header is restored"), "{restored:?}");
    story.wait_stage(&[number], "unlock waiting");
}
