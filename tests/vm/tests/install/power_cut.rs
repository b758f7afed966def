//! Power cuts at seeded moments of the nodes' updates, on BIOS and on UEFI with Secure Boot: whatever of the unflushed writes
//! is lost, they boot and are opened.

use std::path::PathBuf;

use meadow_power::WriteLog;
use meadow_tests_vm::story::{PASSPHRASE, Story};
use meadow_tests_vm::{BOOT, milestone};

/// How many, which the nodes share; `make soak` wants more.
const CUTS: &str = "MEADOW_POWER_CUTS";

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
    let cuts: u64 = std::env::var(CUTS).map_or(2, |text| text.parse().expect("a number"));
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
            let disk = story.site.rack().machines()[number - 1].hardware().disk.clone();
            let said = logs[number - 1].cut_power(&recorded(story, *number).base, &disk, *seed).expect("cut");
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

/// By its TPM, which opens it from the moment on at which it was given a key without a PIN; else by the passphrase.
fn open(story: &mut Story, number: usize) {
    let opened = story.site.until("a prompt or an open state", BOOT, |site| {
        let machine = site.rack_mut().machine(number)?;
        let asks = milestone(machine, "unlock waiting")?.and(milestone(machine, "dropbear")?).map(|_| false);
        Ok(milestone(machine, "unlocked")?.map(|_| true).or(asks))
    });
    let opened = opened.unwrap_or_else(|error| {
        panic!("{error:#}; {:?}", story.site.rack().machines()[number - 1].serial().text_from(0))
    });
    if !opened {
        let opened = story.unlock(&format!("node-{number}"), PASSPHRASE);
        assert!(opened.status.success(), "{opened:?}");
    }
}
