//! Control groups of version 2, for what a rack runs under a service manager of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::ledger::Entry;
use crate::run_dir::RunDir;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A control group below the one that this process is in.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
    inside: PathBuf,
}

impl Cgroup {
    /// Makes the group `mdw<id>-<role>`.
    ///
    /// # Errors
    /// Where the host has no such groups, or it cannot be made.
    pub fn create(run: &mut RunDir, role: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
        let mount = mount_point(&mounts).context("this host has no control groups of version 2 (cgroup2)")?;
        let groups = fs::read_to_string("/proc/self/cgroup").context("cannot read this process's groups")?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).context("this process is in no group")?;
        let inside = Path::new(own).join(format!("mdw{}-{role}", run.id()));
        let path = mount.join(&inside);
        run.note(&Entry::Cgroup(path.clone()))?;
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, inside })
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same below any other mount of the hierarchy.
    #[must_use]
    pub fn inside(&self) -> &Path {
        &self.inside
    }
}

/// Kills everything in a group and removes it.
pub(crate) fn remove(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    // Linux before 5.14 has no such file; then the processes are ended by whoever started them.
    let _ = fs::write(path.join("cgroup.kill"), "1");
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = remove_groups(path) {
        if Instant::now() > deadline {
            bail!("cannot remove the control group {}: {error}", path.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The innermost first: a group with groups in it stays.
fn remove_groups(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Where the whole hierarchy is mounted: fields 4, 5 and the type behind ` - ` of `proc_pid_mountinfo(5)`.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (root == "/" && kind.starts_with("cgroup2 ")).then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_hierarchy_is_found_among_the_mounts() {
        let mounts = "22 1 0:20 / /sys/fs/cgroup rw,nosuid shared:8 - tmpfs tmpfs rw,mode=755\n\
                      23 22 0:21 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      24 22 0:22 /user.slice /somewhere rw - cgroup2 cgroup2 rw\n\
                      25 22 0:22 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point(""), None);
    }
}
