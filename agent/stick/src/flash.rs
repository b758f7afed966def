//! Writes an image and its seed.
//!
//! The table and the boot code come last: a stick that was cut off in between boots nowhere and is written again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use meadow_model::seed::Seed;
use meadow_plan::flash::{Target, TargetKind};
use meadow_plan::layout;
use rustix::fs::{Advice, FlockOperation, OFlags, fadvise, flock};
use rustix::ioctl::{NoArg, ioctl};
use rustix::process::geteuid;

use crate::{SeedArea, StickError, StickImage, look, table};

const CHUNK: usize = 1 << 20;
/// So that a slow stick shows where it is, not where memory is.
const SYNC_EVERY: u64 = 16 << 20;
/// Tables of partitions, and what begins a file system, lie in the first and last MiB.
const EDGE: u64 = 1 << 20;
/// Bytes of boot code in front of the protective MBR's table.
const BOOT_CODE: usize = 0x1b8;
/// `_IO(0x12, 95)` of `linux/fs.h`.
const BLKRRPART: u32 = 0x125f;

/// Hears of every step and how far it is in percent.
pub type Progress<'a> = dyn FnMut(&str, u8) + 'a;

/// What to write where.
#[derive(Clone, Copy, Debug)]
pub struct Flash<'a> {
    /// The image.
    pub image: &'a StickImage,
    /// The target as it was when somebody consented.
    pub target: &'a Target,
    /// The seed.
    pub seed: Option<&'a Seed>,
}

impl Flash<'_> {
    /// Writes the image, reads it back and compares, and writes seed, table and boot code. When it returns the device
    /// has everything and may be unplugged.
    ///
    /// # Errors
    /// [`StickError`]
    pub fn run(&self, progress: &mut Progress<'_>) -> Result<(), StickError> {
        let path = Path::new(&self.target.path);
        if self.target.kind == TargetKind::NewFile {
            return self.write_new_file(path, progress);
        }
        let file = self.open(path)?;
        self.write(&Open { path, file, blank: false }, progress)
    }

    /// Whole or not at all: nobody is to take the half of an image for one.
    fn write_new_file(&self, path: &Path, progress: &mut Progress<'_>) -> Result<(), StickError> {
        let name = path.file_name().ok_or_else(|| StickError::NoTarget(path.to_owned()))?;
        let fresh = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
        let file = fresh_file(&fresh)?;
        let written = file
            .set_len(self.image.size())
            .map_err(StickError::io("make", &fresh))
            .and_then(|()| self.write(&Open { path: &fresh, file, blank: true }, progress))
            .and_then(|()| fs::rename(&fresh, path).map_err(StickError::io("make", path)))
            .and_then(|()| sync_folder_of(path));
        if written.is_err() {
            // A leftover does no harm; the next run takes it.
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    /// Opens the very target that somebody consented to, with nobody else using it.
    fn open(&self, path: &Path) -> Result<File, StickError> {
        let exclusive = if self.target.kind == TargetKind::File { 0 } else { OFlags::EXCL.bits() };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(exclusive.cast_signed())
            .open(path)
            .map_err(StickError::io("open", path))?;
        // udev leaves a locked disk alone, and would else look at half-written partitions and keep them busy.
        flock(&file, FlockOperation::LockExclusive).map_err(|error| StickError::io("lock", path)(error.into()))?;
        let facts = file.metadata().map_err(StickError::io("look at", path))?;
        let image = self.image.file.metadata().map_err(StickError::io("look at", self.image.path()))?;
        if facts.is_file() && (facts.dev(), facts.ino()) == (image.dev(), image.ino()) {
            return Err(StickError::SameFile(path.to_owned()));
        }
        // A name such as sdb goes to another stick as soon as somebody pulls the one.
        let now = look(path)?.disk;
        let then = &self.target.disk;
        if (&now.serial, now.size_bytes, &now.model) != (&then.serial, then.size_bytes, &then.model) {
            return Err(StickError::Changed(path.to_owned()));
        }
        Ok(file)
    }

    fn write(&self, target: &Open<'_>, progress: &mut Progress<'_>) -> Result<(), StickError> {
        let size = target.size()?;
        target.zero(size.saturating_sub(EDGE), EDGE.min(size))?;
        target.zero(0, EDGE.min(size))?;
        target.sync()?;
        let written = self.write_body(target, progress)?;
        self.compare_body(target, &written, progress)?;
        if let (Some(place), Some(seed)) = (table::find(&self.image.table, layout::SEED), self.seed) {
            let file = target.file.try_clone().map_err(StickError::io("open", target.path))?;
            SeedArea::at(target.path, file, place.start).write(Some(seed))?;
        }
        let mut own = table::for_device(&self.image.table, &target.file, target.path)?;
        table::write(&mut own, &target.file, target.path)?;
        target.sync()?;
        self.write_boot_code(target)?;
        if table::read(&target.file).as_ref() != Some(&own) {
            return Err(StickError::Broken { path: target.path.to_owned(), offset: 0 });
        }
        // So that the new partitions show; a file has none, and whoever plugs the stick in again sees them too.
        // SAFETY: BLKRRPART takes no argument and writes to no memory of ours.
        let _ = unsafe { ioctl(&target.file, NoArg::<BLKRRPART>::new()) };
        Ok(())
    }

    /// Writes what the image has, and zeros where it has none and the target has something; where each chunk that was
    /// written begins.
    fn write_body(&self, target: &Open<'_>, progress: &mut Progress<'_>) -> Result<Vec<u64>, StickError> {
        let (mut source, mut there) = (vec![0; CHUNK], vec![0; CHUNK]);
        let (mut written, mut unsynced) = (Vec::new(), 0);
        for (offset, length) in self.chunks() {
            let (source, there) = (&mut source[..length], &mut there[..length]);
            self.read_image(source, offset)?;
            progress("writes", self.percent(offset));
            if is_zero(source) {
                if target.blank {
                    continue;
                }
                // Reading is faster than writing, and wears nothing out.
                target.read(there, offset)?;
                if is_zero(there) {
                    continue;
                }
            }
            target.write(source, offset)?;
            written.push(offset);
            unsynced += length as u64;
            if unsynced >= SYNC_EVERY {
                target.sync()?;
                unsynced = 0;
            }
        }
        target.sync()?;
        Ok(written)
    }

    fn compare_body(&self, target: &Open<'_>, written: &[u64], progress: &mut Progress<'_>) -> Result<(), StickError> {
        forget(&target.file);
        let (mut source, mut there) = (vec![0; CHUNK], vec![0; CHUNK]);
        for (offset, length) in self.chunks().filter(|(offset, _)| written.binary_search(offset).is_ok()) {
            let (source, there) = (&mut source[..length], &mut there[..length]);
            self.read_image(source, offset)?;
            target.read(there, offset)?;
            if source != there {
                return Err(StickError::Broken { path: target.path.to_owned(), offset });
            }
            progress("reads back", self.percent(offset));
        }
        progress("reads back", 100);
        Ok(())
    }

    /// In one write, and last: from now on it boots.
    fn write_boot_code(&self, target: &Open<'_>) -> Result<(), StickError> {
        let mut sector = [0; 512];
        target.read(&mut sector, 0)?;
        sector[..BOOT_CODE].copy_from_slice(&self.image.boot_sector[..BOOT_CODE]);
        target.write(&sector, 0)?;
        target.sync()?;
        forget(&target.file);
        let mut found = [0; 512];
        target.read(&mut found, 0)?;
        if found == sector { Ok(()) } else { Err(StickError::Broken { path: target.path.to_owned(), offset: 0 }) }
    }

    fn chunks(&self) -> impl Iterator<Item = (u64, usize)> {
        let body = self.image.body;
        let length = move |offset: u64| usize::try_from(body.end - offset).unwrap_or(CHUNK).min(CHUNK);
        (body.start..body.end).step_by(CHUNK).map(move |offset| (offset, length(offset)))
    }

    fn percent(&self, offset: u64) -> u8 {
        let body = self.image.body;
        u8::try_from((offset - body.start) * 100 / (body.end - body.start).max(1)).unwrap_or(100)
    }

    fn read_image(&self, bytes: &mut [u8], offset: u64) -> Result<(), StickError> {
        self.image.file.read_exact_at(bytes, offset).map_err(StickError::io("read", self.image.path()))
    }
}

/// What is written to.
struct Open<'a> {
    path: &'a Path,
    file: File,
    /// Nothing but zeros is there.
    blank: bool,
}

impl Open<'_> {
    fn size(&self) -> Result<u64, StickError> {
        (&self.file).seek(SeekFrom::End(0)).map_err(StickError::io("find the size of", self.path))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), StickError> {
        self.file.read_exact_at(bytes, offset).map_err(StickError::io("read", self.path))
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StickError> {
        self.file.write_all_at(bytes, offset).map_err(StickError::io("write", self.path))
    }

    fn zero(&self, offset: u64, length: u64) -> Result<(), StickError> {
        if self.blank {
            return Ok(());
        }
        self.write(&vec![0; usize::try_from(length).unwrap_or(CHUNK)], offset)
    }

    fn sync(&self) -> Result<(), StickError> {
        self.file.sync_all().map_err(StickError::io("sync", self.path))
    }
}

/// Makes a private file, since a seed has a token, or takes the one that a run of before left. Whatever somebody else put
/// there is left alone: in a folder of others, such as `/tmp`, its name can be guessed.
fn fresh_file(path: &Path) -> Result<File, StickError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let file = match options.create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let left = options.create_new(false).custom_flags(flags.bits().cast_signed()).open(path);
            left.map_err(|_| StickError::Planted(path.to_owned()))?
        }
        made => made.map_err(StickError::io("make", path))?,
    };
    // Another run that is under way holds it, and puts it under another name when it ends.
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| StickError::io("lock", path)(error.into()))?;
    let facts = file.metadata().map_err(StickError::io("look at", path))?;
    let named = fs::symlink_metadata(path).map_err(StickError::io("look at", path))?;
    let is_ours = facts.is_file()
        && facts.uid() == geteuid().as_raw()
        && facts.nlink() == 1
        && (facts.dev(), facts.ino()) == (named.dev(), named.ino());
    if !is_ours {
        return Err(StickError::Planted(path.to_owned()));
    }
    file.set_len(0).map_err(StickError::io("make", path))?;
    Ok(file)
}

/// Drops what was synced from memory, so that the next read comes from the device.
pub(crate) fn forget(file: &File) {
    // Where that fails the read is only less telling.
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// So that the name lasts, too.
fn sync_folder_of(path: &Path) -> Result<(), StickError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(StickError::io("sync", folder))
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
