//! A person at a terminal.

use std::process::Command;

use anyhow::Result;
use meadow_rack::terminal;

use crate::Ran;

/// Runs `command` with a terminal as its stdin, on which `lines` have been typed. Its stdout and stderr are pipes.
///
/// # Errors
/// When there is no terminal, or the command cannot be run.
pub(crate) fn run(command: &mut Command, lines: &str) -> Result<Ran> {
    // Whoever types stays until it has ended.
    let (_person, program) = terminal::typed(lines)?;
    Ran::finish(command.stdin(program))
}
