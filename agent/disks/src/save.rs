//! A file onto a stick that a person named, such as a support bundle: whatever FAT file system comes first on it.
//!
//! Nothing on the stick is changed but that file; a stick with another file system is left alone.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use fatfs::{FileSystem, FsOptions, ReadWriteSeek};
use meadow_plan::layout;

use crate::area::{Area, read_file, sector_size};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::{DiskError, mbr, stick, table};

/// Larger than any support bundle.
const LARGEST: u64 = 64 << 20;

/// Copies `from` as `name` onto the stick with that serial number, and reads it back.
pub(crate) fn run(
    machine: &dyn Machine,
    serial: &str,
    from: &Path,
    name: &str,
    progress: &mut Progress<'_>,
) -> Result<(), DiskError> {
    let disk = stick::the_disk(machine, serial)?;
    let node = machine.disk_node(&disk.name);
    let partitions = table::read(&node)?;
    if partitions.iter().any(|part| [layout::PREBOOT, layout::STATE].contains(&part.name.as_str())) {
        return Err(DiskError::refused(format!("{} ({serial}) is a node's disk and no stick", disk.name)));
    }
    if disk.read_only {
        return Err(DiskError::refused(format!(
            "the stick {serial} is read-only; look for a write-protect switch, or take another one"
        )));
    }
    let bytes = read_file(from, LARGEST)?;
    progress("writes to the stick", None);
    // Alone: nobody has mounted it meanwhile.
    let area = Area::open_alone(&node)?;
    let (start, length) = first_fat(&area, &partitions.iter().map(|part| (part.start, part.size)).collect::<Vec<_>>())?
        .ok_or_else(|| {
            DiskError::refused(format!(
                "the stick {serial} has no FAT file system; format it with FAT32, or take another one"
            ))
        })?;
    let written = write(&area, start, length, name, &bytes);
    area.sync()?;
    let found = written.and_then(|()| read_back(&area, start, length, name));
    match found {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => Err(DiskError::refused(format!(
            "the stick {serial} gives back something else than was written; take another one"
        ))),
        Err(error) => Err(DiskError::io("write to the stick", &node)(error)),
    }
}

/// The first FAT file system: in a partition of either kind of table, or on the whole stick.
fn first_fat(area: &Area, partitions: &[(u64, u64)]) -> Result<Option<(u64, u64)>, DiskError> {
    let size = area.size()?;
    let mut places = partitions.to_vec();
    if places.is_empty() {
        places = mbr::partitions(area, sector_size(area))?;
    }
    places.push((0, size));
    let fits = |(start, length): &(u64, u64)| start.checked_add(*length).is_some_and(|end| *length > 0 && end <= size);
    Ok(places.into_iter().filter(fits).find(|(start, length)| open(area, *start, *length).is_ok()))
}

fn open<'a>(area: &'a Area, start: u64, length: u64) -> io::Result<FileSystem<Window<'a>>> {
    FileSystem::new(Window { file: area.file(), start, length, at: 0 }, FsOptions::new())
}

fn write(area: &Area, start: u64, length: u64, name: &str, bytes: &[u8]) -> io::Result<()> {
    let system = open(area, start, length)?;
    let free = u64::from(system.stats()?.free_clusters()) * u64::from(system.cluster_size());
    if free < bytes.len() as u64 {
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("{} bytes are needed and {free} are free", bytes.len()),
        ));
    }
    let result = fill(&system, name, bytes);
    if result.is_err() {
        // Half of a bundle is of no use, and what went wrong is worth more than whether this worked.
        let _ = system.root_dir().remove(name);
    }
    system.unmount()?;
    result
}

fn fill<T: ReadWriteSeek>(system: &FileSystem<T>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = system.root_dir().create_file(name)?;
    file.truncate()?;
    file.write_all(bytes)?;
    file.flush()
}

fn read_back(area: &Area, start: u64, length: u64, name: &str) -> io::Result<Vec<u8>> {
    // Synced pages are dropped by that, so what is read now comes from the device.
    rustix::fs::fadvise(area.file(), 0, None, rustix::fs::Advice::DontNeed)?;
    let mut found = Vec::new();
    open(area, start, length)?.root_dir().open_file(name)?.take(LARGEST).read_to_end(&mut found)?;
    Ok(found)
}

/// A part of a disk.
struct Window<'a> {
    file: &'a File,
    start: u64,
    length: u64,
    at: u64,
}

impl Window<'_> {
    fn room(&self, wanted: usize) -> usize {
        usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(wanted).min(wanted)
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.room(buffer.len());
        let got = std::os::unix::fs::FileExt::read_at(self.file, &mut buffer[..wanted], self.start + self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = self.room(bytes.len());
        let done = std::os::unix::fs::FileExt::write_at(self.file, &bytes[..wanted], self.start + self.at)?;
        self.at += done as u64;
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "outside of the partition");
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.filter(|at| *at <= self.length).ok_or_else(outside)?;
        Ok(self.at)
    }
}
