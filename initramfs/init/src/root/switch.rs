//! The last act: the mounted root becomes `/`, and its init becomes PID 1.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::mount::TARGET;

const PROGRAMS: [&str; 2] = ["/usr/lib/systemd/systemd", "/sbin/init"];
const MOVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// Moves into the root at `/sysroot` and starts its init; comes back only with an error.
///
/// # Errors
/// Before anything was moved if the root lacks what is needed; later ones leave the machine
/// without a way back, and the caller can only say so.
pub fn switch_root() -> anyhow::Result<Infallible> {
    let program = PROGRAMS
        .into_iter()
        .find(|program| fs::symlink_metadata(format!("{TARGET}{program}")).is_ok())
        .with_context(|| format!("the root has none of {PROGRAMS:?}"))?;
    for directory in MOVED {
        if !Path::new(&format!("{TARGET}{directory}")).is_dir() {
            bail!("the root has no directory {directory}");
        }
    }
    for directory in MOVED {
        rustix::mount::mount_move(directory, format!("{TARGET}{directory}"))
            .with_context(|| format!("cannot move {directory}"))?;
    }
    // The initramfs is memory that nobody could reach any more.
    let root = fs::symlink_metadata("/").context("cannot look at /")?;
    remove_contents(Path::new("/"), root.dev());

    std::env::set_current_dir(TARGET).context("cannot go into the root")?;
    rustix::mount::mount_move(".", "/").context("cannot move the root")?;
    rustix::process::chroot(".").context("cannot change the root")?;
    std::env::set_current_dir("/").context("cannot go into the new root")?;
    let mut command = Command::new(program);
    if let Ok(console) = fs::OpenOptions::new().read(true).write(true).open("/dev/console") {
        let error = console.try_clone();
        command.stdin(console.try_clone().map_or_else(|_| Stdio::null(), Stdio::from));
        command.stdout(console).stderr(error.map_or_else(|_| Stdio::null(), Stdio::from));
    }
    Err(command.exec()).with_context(|| format!("cannot start {program}"))
}

/// Removes everything on this file system; other file systems stay, and so does what refuses.
fn remove_contents(directory: &Path, device: u64) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.dev() != device {
            continue;
        }
        // What cannot be removed costs a little memory and nothing else.
        if metadata.is_dir() {
            remove_contents(&path, device);
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_files_links_and_directories_but_follows_nothing() {
        let base = std::env::temp_dir().join(format!("meadow-switch-{}", std::process::id()));
        let (inside, outside) = (base.join("root"), base.join("outside"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(inside.join("a/file"), "x").unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let device = fs::symlink_metadata(&inside).unwrap().dev();
        remove_contents(&inside, device.wrapping_add(1));
        assert!(inside.join("a/file").exists(), "another file system is left alone");
        remove_contents(&inside, device);
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
        assert!(outside.join("kept").exists());
        fs::remove_dir_all(&base).unwrap();
    }
}
