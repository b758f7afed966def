//! Keeps the server's few threads from waiting for a disk.
//!
//! `sendfile` and `read` of what is not in memory wait for the disk, and with them all else that is to run on their thread.
//! Files were read whole when they were checked, so that they usually are in memory; where the memory was needed for
//! something else they are not. Measured by hand, with 50 machines that fetch 400 MB from a disk of 40 MB/s: port 4011 answered
//! after 7.3 to 7.9 s at worst, and firmware waits for 2 to 4 s. So it is looked first, and what is missing is read on a
//! thread that may wait: 5 to 372 ms at worst in five runs on a busy computer, where it is as much without any disk. What is
//! in memory is sent at the same processor time as before.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::sync::Semaphore;

use crate::artifacts::Artifact;

/// Looked at, and read where it is missing, at once.
const AHEAD: u64 = 2 << 20;
/// One byte of so many is looked at: what was read by others, or was there longest, ends anywhere.
const STEP: usize = 256 << 10;
/// Threads that wait for disks at once: more make none faster, and each takes memory.
const READERS: usize = 8;
/// Read by one call.
const PIECE: usize = 64 << 10;

/// The kernel's page cache, as far as files that are sent are concerned.
#[derive(Debug)]
pub(crate) struct PageCache {
    readers: Semaphore,
}

impl Default for PageCache {
    fn default() -> Self {
        Self { readers: Semaphore::new(READERS) }
    }
}

impl PageCache {
    /// As a disk that does not come back: nothing is read while this is held.
    #[cfg(test)]
    pub(crate) async fn hold_readers(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.readers.acquire_many(u32::try_from(READERS).unwrap()).await.unwrap()
    }

    /// Waits until a part of a file is in memory; whether it had to be read. `known` is what was there at the last call
    /// for this file, empty at first: nothing is looked at twice.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn bring_in(
        &self,
        artifact: &Arc<Artifact>,
        known: &mut Range<u64>,
        part: Range<u64>,
    ) -> io::Result<bool> {
        if known.start <= part.start && part.end <= known.end {
            return Ok(false);
        }
        *known = part.start..part.end.max(part.start.saturating_add(AHEAD)).min(artifact.size);
        let Some(last) = known.clone().next_back() else { return Ok(false) };
        let mut places = known.clone().step_by(STEP).chain([last]);
        if places.all(|offset| is_in_memory(&artifact.file, offset)) {
            return Ok(false);
        }
        let _place = self.readers.acquire().await.map_err(io::Error::other)?;
        let (artifact, missing) = (artifact.clone(), known.clone());
        tokio::task::spawn_blocking(move || read(&artifact.file, missing)).await.map_err(io::Error::other)??;
        Ok(true)
    }
}

/// Whether the byte at this offset can be read without waiting; also where the file system does not tell.
fn is_in_memory(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let read = preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT);
    read != Err(Errno::AGAIN)
}

/// Reads a part of a file for the sake of the cache. Waits for the disk.
fn read(file: &File, part: Range<u64>) -> io::Result<()> {
    // The disk gets all of it at once; what follows waits. Not every file system takes the hint.
    let _ = fadvise(file, part.start, NonZeroU64::new(part.end - part.start), Advice::WillNeed);
    let mut buffer = vec![0; PIECE];
    let mut offset = part.start;
    while offset < part.end {
        match file.read_at(&mut buffer, offset)? {
            // It became shorter; whoever sends it finds that out.
            0 => break,
            length => offset += length as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn artifact(size: u64) -> Arc<Artifact> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; usize::try_from(size).unwrap()]).unwrap();
        file.sync_all().unwrap();
        Arc::new(Artifact { name: "file".into(), size, sha256: String::new(), digest: None, file })
    }

    /// Where the file system keeps files in memory alone, nothing ever has to be read.
    #[tokio::test]
    async fn what_is_not_in_memory_is_read_once() {
        let (cache, artifact, mut known) = (PageCache::default(), artifact(3 * AHEAD + 5), 0..0);
        let forget = || fadvise(&artifact.file, 0, None, Advice::DontNeed).unwrap();
        let are_there = |offsets: &[u64]| offsets.iter().all(|offset| is_in_memory(&artifact.file, *offset));
        let mut bring_in = async |part| cache.bring_in(&artifact, &mut known, part).await.unwrap();
        forget();
        let was_there = are_there(&[0, AHEAD - 1]);
        assert_eq!(bring_in(0..10).await, !was_there);
        assert!(are_there(&[0, AHEAD - 1]));
        forget();
        assert!(!bring_in(10..AHEAD).await, "not looked at twice");
        for part in [AHEAD - 1..AHEAD + 1, 3 * AHEAD..3 * AHEAD + 5, 5..6] {
            forget();
            bring_in(part.clone()).await;
            assert!(are_there(&[part.start, part.end - 1]), "{part:?}");
        }
        assert!(!bring_in(artifact.size..artifact.size).await, "the empty block behind the end");
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_read_as_far_as_it_goes() {
        let artifact = artifact(2 * AHEAD);
        artifact.file.set_len(10).unwrap();
        assert!(PageCache::default().bring_in(&artifact, &mut (0..0), 0..2 * AHEAD).await.is_ok());
    }
}
