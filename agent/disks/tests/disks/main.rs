//! The disk helper on computers made of files: everything but dm-crypt, which the kernels of build machines lack.

mod chip;
mod image;
mod install;
mod install_cuts;
mod keys;
mod left_mark;
mod machine;
mod network;
mod power_cut;
mod reinstall;
mod reset;
mod save;
mod ssh_keys;
mod stick;
mod tpm_slot;
mod update;
mod update_cuts;

use std::env;
use std::process::Command;

/// Of the writes at which a helper is killed, every which one is tried where no more power cuts are wanted. No multiple of what
/// writes come in: pairs, and sectors of a page.
const SAMPLE: usize = 5;

/// How many power cuts are wanted: `make soak` says so.
fn power_cuts() -> Option<u64> {
    env::var("MEADOW_POWER_CUTS").ok().map(|text| text.parse().expect("a number"))
}

/// Seeds of power cuts in which a part of the unflushed writes is lost.
fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=power_cuts().map_or(16, |cuts| cuts.max(16))
}

/// After how many of `writes` a helper is killed: each number in `make soak`, else a sample, with none and all of them.
fn ends(writes: usize) -> impl Iterator<Item = usize> {
    let step = if power_cuts().is_some() { 1 } else { SAMPLE };
    (0..writes).step_by(step).chain([writes])
}

/// Runs a stock program and gives its standard output.
fn stock(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
