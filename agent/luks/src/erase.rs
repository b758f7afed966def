//! Makes a volume's data unreadable for good: without its key slots nothing opens it, whoever knows a passphrase.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::{LuksError, Volume, header};

/// Bytes before the data of a volume of ours: both copies of the header and all key slots.
pub const HEADER_BYTES: u64 = 16 << 20;
const CHUNK: usize = 1 << 20;

/// Destroys every key slot of the volume on `device`, overwrites both copies of its header and all room for key slots,
/// and makes sure that the device gives nothing of them back. The volume may be open; its data can be read until it is
/// closed. Cut off anywhere, done again it comes to its end; a header that is damaged already is no hindrance.
///
/// **What lies on the volume is lost.** The caller makes sure that somebody consented to that.
///
/// # Errors
/// [`LuksError::Io`]
pub fn erase(device: &Path) -> Result<(), LuksError> {
    // Each slot's own area is wiped by libcryptsetup, as its makers think best. What it does not know any more goes with
    // the rest below.
    if let Ok(mut volume) = Volume::open(device) {
        volume.destroy_slots();
    }
    overwrite(device).map_err(|source| LuksError::Io {
        action: "erase the header of",
        device: device.to_owned(),
        source,
    })
}

fn overwrite(device: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(device)?;
    let length = file.seek(SeekFrom::End(0))?.min(HEADER_BYTES);
    for_each_chunk(length, |offset, bytes| file.write_all_at(&vec![0; bytes], offset))?;
    file.sync_all()?;
    expect_zeros(&file, length)?;
    let traces = header::inspect(device).map_err(io::Error::other)?;
    if traces.traces || traces.newest().is_some() {
        return Err(io::Error::other("the device still gives back a part of the header; destroy the disk itself"));
    }
    Ok(())
}

/// From the device, not from memory.
fn expect_zeros(file: &File, length: u64) -> io::Result<()> {
    fadvise(file, 0, None, Advice::DontNeed)?;
    for_each_chunk(length, |offset, bytes| {
        let mut found = vec![1; bytes];
        file.read_exact_at(&mut found, offset)?;
        if found.iter().any(|byte| *byte != 0) {
            return Err(io::Error::other("the device gives back other bytes than zeros; destroy the disk itself"));
        }
        Ok(())
    })
}

fn for_each_chunk(length: u64, mut work: impl FnMut(u64, usize) -> io::Result<()>) -> io::Result<()> {
    let mut offset = 0;
    while offset < length {
        let bytes = usize::try_from(length - offset).unwrap_or(CHUNK).min(CHUNK);
        work(offset, bytes)?;
        offset += bytes as u64;
    }
    Ok(())
}
