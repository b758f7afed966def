//! One program under one name; what it does follows from its arguments, which PID 1 and Dropbear give, never a stranger.

use std::ffi::OsString;
use std::process::ExitCode;

use meadow_unlock::invocation::{Invocation, Request};
use meadow_unlock::{console, manifest, probe, restore, session, status, tpm};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // What the client asked for; Dropbear runs the forced command instead.
    let asked = std::env::var_os("SSH_ORIGINAL_COMMAND");
    match Invocation::parse(&arguments, asked.as_deref()) {
        Invocation::Probe { preboot, state } => probe::print(&preboot, state.as_deref()),
        Invocation::Tpm => tpm::print(),
        Invocation::Close => tpm::close(),
        Invocation::Manifest { manifest, signature } => manifest::print(&manifest, &signature),
        Invocation::Console(terminal) => console::run(&terminal),
        Invocation::Session(Request::Unlock) => session::run(),
        Invocation::Session(Request::Status) => status::print(),
        Invocation::Session(Request::RestoreHeader) => restore::run(),
        Invocation::Session(Request::Unknown) => {
            eprintln!(
                "there is no such command here: `ssh` without one asks for the passphrase, `status` shows the boot, `restore-header` takes a backup of the LUKS header"
            );
            ExitCode::from(session::USAGE)
        }
        Invocation::Unknown => {
            eprintln!(
                "usage: unlock probe PREBOOT [STATE] | unlock tpm | unlock close | unlock manifest MANIFEST SIGNATURE | unlock console TERMINAL | (over SSH) unlock, status, restore-header"
            );
            ExitCode::from(session::USAGE)
        }
    }
}
