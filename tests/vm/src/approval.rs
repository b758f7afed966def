//! Machines that wait for a person, and that person. Whatever does not work panics: these are steps of tests.

use std::process::Output;

use meadow_rack::Site;
use meadow_rack::cluster::MachineRow;

use crate::BOOT;
use crate::story::{PASSPHRASE, Story};

/// The address of a machine's network card.
#[must_use]
pub fn mac(story: &Story, number: usize) -> String {
    story.site.rack().machines()[number - 1].hardware().mac.clone()
}

/// The machine with this card that waits for a person. A node that ran from memory comes back as another one.
///
/// # Errors
/// When the cluster does not answer.
pub fn pending(site: &Site, mac: &str) -> anyhow::Result<Option<MachineRow>> {
    let machines = site.cluster().machines()?;
    Ok(machines.into_iter().find(|machine| machine.mac == mac && machine.phase == "Pending"))
}

/// Waits until a machine waits for a person.
///
/// # Panics
/// When it does not in time.
pub fn wait_pending(story: &mut Story, number: usize) {
    let mac = mac(story, number);
    let waits = story.site.until("a machine that waits", BOOT, |site| pending(site, &mac));
    waits.unwrap_or_else(|error| panic!("{error:#}; {:?}", story.site.rack().machines()[number - 1].milestones()));
}

/// Approves a machine whose fingerprint is not compared here, and consents to what its disk loses.
///
/// # Panics
/// When none waits.
#[must_use]
pub fn approve(story: &Story, number: usize, options: &[&str]) -> Output {
    let file = story.file("passphrase", PASSPHRASE).display().to_string();
    let machine = pending(&story.site, &mac(story, number)).expect("the cluster answers").expect("one that waits").name;
    let consent = ["--yes", "--accept-risk=wipe-disk", "--passphrase-file", &file];
    story.meadow(&[&["--no-input", "machine", "approve", &machine], options, &consent].concat())
}
