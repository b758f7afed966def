//! Programs that are started. No secret is ever an argument.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::DiskError;

/// Characters of what a program said that are kept.
const SAID: usize = 400;

/// Runs a program of the image to its end.
pub(crate) fn run(program: &'static str, arguments: &[&OsStr]) -> Result<(), DiskError> {
    let failed = |said: String| DiskError::Program { program, said };
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let end: Vec<char> = said.trim().chars().rev().take(SAID).collect();
    Err(failed(format!("{}: {}", output.status, end.into_iter().rev().collect::<String>())))
}
