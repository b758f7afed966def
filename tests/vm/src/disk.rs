//! Disks of machines, to show that nobody wrote to them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use rustix::fs::{SeekFrom, seek};
use sha2::{Digest, Sha256};

/// Something that looks like somebody's data: a boot sector, and random bytes where file systems begin.
///
/// # Errors
/// When the disk cannot be written.
pub fn put_foreign_data(disk: &Path) -> Result<()> {
    let file = File::options().write(true).open(disk).with_context(|| format!("cannot open {}", disk.display()))?;
    let mut random = vec![0; 1 << 20];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    file.write_all_at(&[0x55, 0xaa], 510)?;
    Ok(file.write_all_at(&random, 1 << 20)?)
}

/// A digest over everything that was ever written to the disk, with its place. Holes of the file are skipped, so a
/// blank disk of any size costs nothing, and zeros that somebody wrote show.
///
/// # Errors
/// When the disk cannot be read.
pub fn digest(disk: &Path) -> Result<String> {
    let file = File::open(disk).with_context(|| format!("cannot open {}", disk.display()))?;
    let mut hash = Sha256::new();
    let mut position = 0;
    // ENXIO: no data from here on.
    while let Ok(begin) = seek(&file, SeekFrom::Data(position)) {
        let end = seek(&file, SeekFrom::Hole(begin))?;
        let mut bytes = vec![0; usize::try_from(end - begin)?];
        file.read_exact_at(&mut bytes, begin)?;
        hash.update(begin.to_le_bytes());
        hash.update(&bytes);
        position = end;
    }
    Ok(HEXLOWER.encode(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_zeros_change_the_digest_of_a_blank_disk() {
        let path = std::env::temp_dir().join(format!("meadow-disk-{}", std::process::id()));
        let file = File::create(&path).expect("created");
        file.set_len(64 << 20).expect("sized");
        let blank = digest(&path).expect("digest");
        assert_eq!(digest(&path).expect("digest"), blank);
        file.write_all_at(&[0; 4096], 32 << 20).expect("written");
        let zeros = digest(&path).expect("digest");
        assert_ne!(zeros, blank);
        file.write_all_at(&[1], 32 << 20).expect("written");
        assert_ne!(digest(&path).expect("digest"), zeros);
        std::fs::remove_file(path).expect("removed");
    }
}
