//! The opened volume: checked, mounted, and moved to where the booted system has its `/var`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::mount::MountFlags;

use crate::boot_log::BootLog;
use crate::children::Children;
use crate::root::TARGET;

/// Where `/sbin/unlock` maps the volume.
pub const MAPPED: &str = "/dev/mapper/meadow-state";
const DIRECTORY: &str = "/meadow/state";
const CHECKERS: [&str; 2] = ["/sbin/e2fsck", "/usr/sbin/e2fsck"];
/// Bits of e2fsck's exit status: what follows from 1 and 2 is that all is well now.
const UNCORRECTED: i32 = 4;

/// Checks and mounts the volume, apart from the root.
///
/// # Errors
/// If its file system is damaged, with the way on.
pub fn mount(children: &Children, log: &BootLog) -> anyhow::Result<()> {
    if let Some(checker) = CHECKERS.into_iter().find(|path| Path::new(path).exists()) {
        check(checker, children, log)?;
    }
    fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    // The journal is replayed here where power failed.
    rustix::mount::mount(MAPPED, DIRECTORY, "ext4", flags, None).context(
        "the state is open, but its file system cannot be mounted, and nothing was changed; if it stays so, install this node again from its cluster or a stick, which asks before it wipes",
    )
}

/// Repairs what can be repaired without a decision.
fn check(checker: &str, children: &Children, log: &BootLog) -> anyhow::Result<()> {
    let mut command = Command::new(checker);
    command.args(["-p", MAPPED]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (pid, _child) = children.spawn(&mut command)?;
    match children.wait(pid).and_then(|status| status.exit_status()) {
        Some(0) => {}
        Some(code) if code < UNCORRECTED => log.say("the file system of the state was repaired after a power failure"),
        Some(code) if code & UNCORRECTED != 0 => log.say(
            "the file system of the state has errors that e2fsck does not repair by itself; it is mounted if it can be: save what you need and install this node again",
        ),
        other => bail!(
            "the state is open, but e2fsck cannot read its file system (it ended with {other:?}), and nothing was changed; if it stays so, install this node again from its cluster or a stick, which asks before it wipes"
        ),
    }
    Ok(())
}

/// Moves the mounted volume into the mounted root.
///
/// # Errors
/// If the root has no `/var`.
pub fn move_into_root() -> anyhow::Result<()> {
    let target = format!("{TARGET}/var");
    rustix::mount::mount_move(DIRECTORY, &target).with_context(|| format!("cannot move the state to {target}"))
}
