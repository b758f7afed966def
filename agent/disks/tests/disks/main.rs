//! The disk helper on computers made of files: everything but dm-crypt, which the kernels of build machines lack.

mod chip;
mod image;
mod install;
mod install_cuts;
mod keys;
mod machine;
mod network;
mod power_cut;
mod reinstall;
mod reset;
mod save;
mod stick;
mod tpm_slot;
mod update;
mod update_cuts;

use std::process::Command;

/// Runs a stock program and gives its standard output.
fn stock(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
