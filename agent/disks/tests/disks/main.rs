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

/// Seeds of power cuts in which a part of the unflushed writes is lost; `make soak` wants more.
fn seeds() -> std::ops::RangeInclusive<u64> {
    1..=env::var("MEADOW_POWER_CUTS").map_or(16, |text| text.parse::<u64>().expect("a number").max(16))
}

/// Runs a stock program and gives its standard output.
fn stock(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
