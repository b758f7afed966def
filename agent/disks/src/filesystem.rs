//! The ext4 inside of the state.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, syncfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{DiskError, copy, program};

/// Where the contents of `/var/lib/meadow` lie below `/var`.
const PLACE: [&str; 2] = ["lib", "meadow"];

/// Makes an ext4 on `device` with a copy of `state_from` as `lib/meadow` in it, and waits until the device has it all.
pub(crate) fn make(device: &Path, mount_point: &Path, state_from: &Path) -> Result<(), DiskError> {
    let options = ["-q", "-F", "-t", "ext4", "-L", "meadow-var", "-m", "1", "-E", "lazy_itable_init=1"];
    let arguments: Vec<&std::ffi::OsStr> =
        options.iter().map(|text| (*text).as_ref()).chain([device.as_os_str()]).collect();
    program::run("mke2fs", &arguments)?;
    let mounted = Mounted::new(device, mount_point)?;
    let above = mounted.point.join(PLACE[0]);
    fs::create_dir(&above).map_err(DiskError::io("make the folder", &above))?;
    copy::folder(state_from, &above.join(PLACE[1]))?;
    mounted.finish()
}

/// A mounted file system; unmounted when it is dropped.
struct Mounted {
    point: PathBuf,
}

impl Mounted {
    fn new(device: &Path, point: &Path) -> Result<Self, DiskError> {
        fs::create_dir_all(point).map_err(DiskError::io("make the folder", point))?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
        mount(device, point, "ext4", flags, None).map_err(DiskError::io("mount", device))?;
        Ok(Self { point: point.to_owned() })
    }

    fn finish(self) -> Result<(), DiskError> {
        let folder = openat(CWD, &self.point, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let syncing = DiskError::io("sync", &self.point);
        folder.and_then(syncfs).map_err(syncing)?;
        unmount(&self.point, UnmountFlags::empty()).map_err(DiskError::io("unmount", &self.point))?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // After a failure; where even this fails, the mount goes with our namespace.
        let _ = unmount(&self.point, UnmountFlags::DETACH);
    }
}
