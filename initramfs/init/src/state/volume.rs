//! The opened volume: checked, mounted, and moved to where the booted system has its `/var`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use rustix::mount::MountFlags;

use crate::boot_log::BootLog;
use crate::children::Children;
use crate::root::TARGET;

/// Where `/sbin/unlock` maps the volume.
pub const MAPPED: &str = "/dev/mapper/meadow-state";
const DIRECTORY: &str = "/meadow/state";
const CHECKERS: [&str; 2] = ["/sbin/e2fsck", "/usr/sbin/e2fsck"];
/// Bits of e2fsck's exit status with which all is well now.
const CORRECTED: i32 = 1 | 2;

/// Checks and mounts the volume, apart from the root.
///
/// # Errors
/// If its file system is damaged beyond repair, with the way on.
pub fn mount(children: &Children, log: &BootLog) -> anyhow::Result<()> {
    let checker = CHECKERS.into_iter().find(|path| Path::new(path).exists());
    let found = checker.map(|checker| check(checker, "-p", children)).transpose()?.unwrap_or(0);
    if found & !CORRECTED == 0 && mount_as_it_is().is_ok() {
        if found != 0 {
            log.say("the file system of the state was repaired after a power failure");
        }
        return Ok(());
    }
    // What e2fsck does not decide by itself keeps nobody out as long as it can be mounted.
    let Err(error) = mount_as_it_is() else {
        log.say(
            "the file system of the state has errors that e2fsck does not repair without being told; it is mounted all the same: save what you need and install this node again",
        );
        return Ok(());
    };
    // Without its state this node is lost, so the repair that may cost a file is the better one now.
    if let Some(checker) = checker {
        let code = check(checker, "-y", children)?;
        log.say(&format!(
            "the file system of the state could not be mounted ({error}) and was repaired (e2fsck ended with {code}); watch this disk, and look at lost+found in /var"
        ));
    }
    mount_as_it_is().context(
        "the state is open, but its file system cannot be mounted; if it stays so, install this node again from its cluster or a stick, which asks before it wipes",
    )
}

/// The journal is replayed here where power failed.
fn mount_as_it_is() -> anyhow::Result<()> {
    fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount(MAPPED, DIRECTORY, "ext4", flags, None)?)
}

/// Runs e2fsck with `-p` (only what needs no decision) or `-y` (whatever it finds); its exit status.
fn check(checker: &str, how: &str, children: &Children) -> anyhow::Result<i32> {
    let mut command = Command::new(checker);
    command.args([how, MAPPED]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (pid, _child) = children.spawn(&mut command)?;
    let ended = children.wait(pid).and_then(|status| status.exit_status());
    ended.context("the file system of the state could not be checked: e2fsck crashed; trying again")
}

/// Moves the mounted volume into the mounted root.
///
/// # Errors
/// If the root has no `/var`.
pub fn move_into_root() -> anyhow::Result<()> {
    let target = format!("{TARGET}/var");
    rustix::mount::mount_move(DIRECTORY, &target).with_context(|| format!("cannot move the state to {target}"))
}
