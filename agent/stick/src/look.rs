//! What is where an image is to go.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use meadow_bench::inventory;
use meadow_model::hardware::{Disk, DiskPartition};
use meadow_plan::flash::{SECTOR, Target, TargetKind};
use rustix::fs::{Access, access, major, minor};

use crate::{StickError, table};

/// How long udev may take to look at a stick that was just plugged in.
const UDEV: Duration = Duration::from_secs(5);
/// File systems and tables of files that hold a disk begin in here.
const EDGE: usize = 1 << 20;

/// Looks at a device or a file; nothing is changed.
///
/// # Errors
/// [`StickError`]
pub fn look(path: &Path) -> Result<Target, StickError> {
    let shown = path.display().to_string();
    let facts = match fs::metadata(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == ErrorKind::NotFound && !is_of_devices(path) => {
            return Ok(Target { path: shown, kind: TargetKind::NewFile, sector: SECTOR, ..Target::default() });
        }
        Err(error) => return Err(StickError::io("find", path)(error)),
    };
    if facts.file_type().is_block_device() {
        return device(path, facts.rdev());
    }
    if !facts.is_file() {
        return Err(StickError::NoTarget(path.to_owned()));
    }
    if facts.nlink() > 1 {
        return Err(StickError::Shared(path.to_owned()));
    }
    let kind = if facts.len() == 0 { TargetKind::NewFile } else { TargetKind::File };
    Ok(Target { path: shown, disk: file(path, facts.len()), kind, sector: SECTOR })
}

/// A file in there would be one in memory: a slip of the finger in place of a stick.
fn is_of_devices(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}

fn device(path: &Path, number: u64) -> Result<Target, StickError> {
    let place = format!("/sys/dev/block/{}:{}", major(number), minor(number));
    let place = fs::canonicalize(&place).map_err(StickError::io("find", Path::new(&place)))?;
    let name = |place: Option<&Path>| {
        place.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    if place.join("partition").exists() {
        return Err(StickError::Partition { path: path.to_owned(), disk: name(place.parent()) });
    }
    let found = inventory::device(&name(Some(&place)), UDEV);
    let found = found.ok_or_else(|| StickError::NoTarget(path.to_owned()))?;
    let kind = if found.portable { TargetKind::Portable } else { TargetKind::Fixed };
    // One that cannot be opened shows as unreadable.
    let sector = File::open(path).ok().and_then(|file| rustix::fs::ioctl_blksszget(&file).ok()).unwrap_or(SECTOR);
    Ok(Target { path: path.display().to_string(), disk: found.disk, kind, sector })
}

fn file(path: &Path, size: u64) -> Disk {
    let mut disk = Disk {
        name: path.display().to_string(),
        size_bytes: size,
        read_only: access(path, Access::WRITE_OK).is_err(),
        in_use: loops_over(path),
        ..Disk::default()
    };
    match File::open(path) {
        Err(_) => disk.signature = Some("unreadable".to_owned()),
        Ok(file) => match table::read(&file) {
            Some(table) => {
                disk.signature = Some("gpt".to_owned());
                let used = table.iter().filter(|(_, entry)| entry.is_used());
                disk.partitions = used
                    .map(|(number, entry)| DiskPartition {
                        number,
                        name: Some(entry.partition_name.as_str().chars().filter(|c| !c.is_control()).collect()),
                        size_bytes: entry.size().unwrap_or(0).saturating_mul(SECTOR.into()),
                        ..DiskPartition::default()
                    })
                    .collect();
            }
            None if !has_blank_edges(&file, size) => disk.signature = Some("unknown data".to_owned()),
            None => {}
        },
    }
    disk
}

fn has_blank_edges(file: &File, size: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let length = usize::try_from(size).unwrap_or(EDGE).min(EDGE);
    let mut bytes = vec![0; length];
    [0, size - length as u64].into_iter().all(|at| {
        // What cannot be read may be anything.
        file.read_exact_at(&mut bytes, at).is_ok() && bytes.iter().all(|byte| *byte == 0)
    })
}

/// Loop devices that are made of this file.
fn loops_over(path: &Path) -> Vec<String> {
    let Ok(path) = fs::canonicalize(path) else { return Vec::new() };
    let Ok(devices) = fs::read_dir("/sys/block") else { return Vec::new() };
    let backs = |place: &Path| {
        fs::read_to_string(place.join("loop/backing_file")).is_ok_and(|of| Path::new(of.trim_end()) == path)
    };
    let mut found: Vec<String> = devices
        .flatten()
        .filter(|device| backs(&device.path()))
        .map(|device| device.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort_unstable();
    found
}
