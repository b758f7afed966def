//! A person at a terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use anyhow::Result;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::Ran;

/// Runs `command` with a terminal as its stdin, on which `lines` have been typed. Its stdout and stderr are pipes.
///
/// # Errors
/// When there is no terminal, or the command cannot be run.
pub(crate) fn run(command: &mut Command, lines: &str) -> Result<Ran> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes()))?;
    // The kernel keeps what is typed ahead until somebody reads it, line by line. Who asks more gets an end (Ctrl-D).
    let mut master = File::from(master);
    master.write_all(lines.as_bytes())?;
    master.write_all(b"\x04")?;
    Ran::finish(command.stdin(slave))
}
