//! Power cuts at seeded moments of the nodes' updates, on BIOS and on UEFI with Secure Boot: whatever of the unflushed writes
//! is lost, they boot and are opened.

use std::ops::Range;
use std::path::{Path, PathBuf};

use meadow_power::WriteLog;
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{BOOT, milestone, node_disk, power_cuts};

/// Where the writes to the disk of a node are, and where it was before them.
struct Recorded {
    base: PathBuf,
    log: PathBuf,
}

fn recorded(story: &Story, number: usize) -> Recorded {
    let file = |kind: &str| story.site.rack().run().file(format!("node-{number}.{kind}.disk"));
    Recorded { base: file("base"), log: file("log") }
}

/// Records what is written to the disk of a node from now on; it is off.
pub(crate) fn record(story: &mut Story, number: usize) {
    let recorded = recorded(story, number);
    let machine = story.site.rack_mut().machine(number).expect("there");
    machine.record_writes(&recorded.base, &recorded.log).expect("recorded");
}

/// Cuts the power of both nodes at moments of what was recorded. Each of these disks boots one of the two images, and its
/// state opens.
pub(crate) fn none_loses_a_node(story: &mut Story) {
    let cuts = power_cuts();
    for number in [1, 2] {
        let machine = story.site.rack_mut().machine(number).expect("there");
        machine.power_off().expect("off");
        machine.stop_recording();
    }
    let logs = [1, 2].map(|number| WriteLog::open(&recorded(story, number).log).expect("a log"));
    // The odd seeds are those of the first node. Both boot at once, since each waits half of the time.
    for first in (1..=cuts).step_by(2) {
        let together: Vec<(usize, u64)> = (1..=2).zip(first..=cuts).collect();
        for (number, seed) in &together {
            let (disk, base) = (disk(story, *number), recorded(story, *number).base);
            let said = logs[number - 1].cut_power_at(&base, &disk, *seed, &system(&base)).expect("cut");
            story.progress.line(&format!("node-{number}: {said}"));
            story.site.rack_mut().power_on(*number).expect("power");
        }
        for (number, _) in together {
            open(story, number);
            story.wait_stage(&[number], "switch-root");
            story.site.rack_mut().machine(number).expect("there").power_off().expect("off");
        }
    }
}

fn disk(story: &Story, number: usize) -> PathBuf {
    story.site.rack().machines()[number - 1].hardware().disk.clone()
}

/// Where the boot loader's files and both roots are, which updates write; nine of ten writes are the running node's, to its state.
fn system(disk: &Path) -> Range<u64> {
    let partitions = node_disk::partitions(disk).expect("partitions");
    let start = |name: &str| partitions.iter().find(|(found, ..)| found == name).expect("a partition").1;
    start("meadow-esp")..start("meadow-preboot")
}

/// By its TPM, which opens it from the moment on at which it was given a key without a PIN; else by the passphrase.
fn open(story: &mut Story, number: usize) {
    let prompt = story.site.until("a prompt or an open state", BOOT, |site| {
        let machine = site.rack_mut().machine(number)?;
        if milestone(machine, "unlocked")?.is_some() {
            return Ok(Some(None));
        }
        let listens = milestone(machine, "dropbear")?.is_some();
        Ok(milestone(machine, "unlock waiting")?.filter(|_| listens).map(Some))
    });
    let prompt = prompt.unwrap_or_else(|error| {
        panic!("{error:#}; {:?}", story.site.rack().machines()[number - 1].serial().text_from(0))
    });
    if let Some(prompt) = prompt {
        // The cluster has heard of a host key that the TPM was given after this cut: a person takes it from the console.
        let key = prompt.split_whitespace().find(|word| word.starts_with("SHA256:")).expect("a host key").to_owned();
        let opened = story.unlock_with(&format!("node-{number}"), PASSPHRASE, &["--host-key", &key]);
        assert!(opened.status.success(), "{opened:?}");
    }
}
