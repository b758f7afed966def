//! Power cuts at seeded moments of a node's updates: whatever of the unflushed writes is lost, it boots and is opened.

use meadow_power::WriteLog;

use crate::update::open;
use meadow_tests_vm::story::Story;

const BASE: &str = "node-1.base.disk";
const LOG: &str = "node-1.log.disk";
/// How many; `make soak` wants more.
const CUTS: &str = "MEADOW_POWER_CUTS";

/// Records what is written to the disk of node-1 from now on; it is off.
pub(crate) fn record(story: &mut Story) {
    let (base, log) = (story.site.rack().run().file(BASE), story.site.rack().run().file(LOG));
    story.site.rack_mut().machine(1).expect("there").record_writes(&base, &log).expect("recorded");
}

/// Cuts the power at moments of what was recorded. Each of these disks boots one of the two images, and its state opens.
pub(crate) fn none_loses_the_node(story: &mut Story) {
    let (base, log) = (story.site.rack().run().file(BASE), story.site.rack().run().file(LOG));
    let machine = story.site.rack_mut().machine(1).expect("there");
    machine.power_off().expect("off");
    machine.stop_recording();
    let disk = machine.hardware().disk.clone();
    let log = WriteLog::open(&log).expect("a log");
    let cuts = std::env::var(CUTS).map_or(2, |text| text.parse().expect("a number"));
    for seed in 1..=cuts {
        let said = log.cut_power(&base, &disk, seed).expect("cut");
        story.progress.line(&said);
        story.site.rack_mut().power_on(1).expect("power");
        open(story, 1);
        story.wait_stage(&[1], "switch-root");
        story.site.rack_mut().machine(1).expect("there").power_off().expect("off");
    }
}
