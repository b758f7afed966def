//! From a verified image, in memory or on a partition, to a mounted root.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::Context;
use rustix::mount::MountFlags;

use super::{RootSpec, device_mapper, loop_device, table};

/// Where the root is before it becomes `/`.
pub const TARGET: &str = "/sysroot";
const DEVICE: &str = "meadow-root";
/// Enough for a superblock of dm-verity.
const SUPERBLOCK: usize = 512;

/// Puts loop device, dm-verity and erofs on top of each other and mounts the result read-only.
///
/// # Errors
/// Names the step that failed; what the earlier steps made is taken down again.
pub fn mount(image: &File, spec: &RootSpec) -> anyhow::Result<()> {
    let device = loop_device::attach(image)?;
    mount_verified(image, &device.path, spec)
}

/// The same for an image that begins with the partition's first byte: dm-verity lies straight on the partition.
///
/// # Errors
/// As [`mount`].
pub fn mount_partition(device: &str, spec: &RootSpec) -> anyhow::Result<()> {
    let image = File::open(device).with_context(|| format!("cannot open {device}"))?;
    mount_verified(&image, device, spec)
}

fn mount_verified(image: &File, device: &str, spec: &RootSpec) -> anyhow::Result<()> {
    let mut hash_area = [0; SUPERBLOCK];
    image.read_exact_at(&mut hash_area, spec.hash_offset).context("cannot read the hash area of the root image")?;
    let parameters = table(spec, device, &hash_area)?;
    // veritysetup knows its devices by such a uuid.
    let uuid = format!("CRYPT-VERITY-{}-{DEVICE}", spec.root_hash.get(..32).unwrap_or_default());
    let mapped = device_mapper::create(DEVICE, &uuid, "verity", spec.data_size, &parameters)?;
    fs::create_dir_all(TARGET).with_context(|| format!("cannot make {TARGET}"))?;
    rustix::mount::mount(mapped.path.as_str(), TARGET, "erofs", MountFlags::RDONLY | MountFlags::NODEV, None)
        .context("cannot mount the root")?;
    mapped.keep();
    Ok(())
}
