//! Whether what lies at the beginning of a partition is the root of this initrd, byte for byte.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};

use super::RootSpec;
use super::download::{hex, percent};

const CHUNK: usize = 1 << 20;
/// Chunks between the disk and the hash: they work beside each other.
const CHUNKS: usize = 4;

/// What was found.
#[derive(Debug)]
pub enum Verdict {
    /// The root that belongs to this initrd.
    Right,
    /// Something else: another image, or a damaged one.
    Other,
    /// Not readable to the end of an image of this size.
    Unreadable(io::Error),
}

/// Reads and hashes as many bytes as the image has. `progress` gets the percents, in tens.
pub fn examine(device: &str, spec: &RootSpec, progress: impl Fn(u8)) -> Verdict {
    match File::open(device).and_then(|file| digest(file, spec.size, progress)) {
        Ok(found) if found == spec.sha256 => Verdict::Right,
        Ok(_) => Verdict::Other,
        // A partition smaller than the image cannot hold it.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Verdict::Other,
        Err(error) => Verdict::Unreadable(error),
    }
}

fn digest(file: File, size: u64, progress: impl Fn(u8)) -> io::Result<String> {
    // A hint only.
    let _ = fadvise(&file, 0, None, Advice::Sequential);
    let mut source = file.take(size);
    thread::scope(|scope| {
        let (chunks, queue) = sync_channel::<Vec<u8>>(CHUNKS);
        let hasher = thread::Builder::new().name("root-hash".to_owned()).spawn_scoped(scope, move || hash(queue))?;
        let (mut read, mut told) = (0, 0);
        while read < size {
            let left = usize::try_from(size - read).map_or(CHUNK, |left| left.min(CHUNK));
            let mut chunk = vec![0; left];
            source.read_exact(&mut chunk)?;
            read += chunk.len() as u64;
            // The hasher takes every chunk; it ends with the queue.
            let _ = chunks.send(chunk);
            let now = percent(read, size) / 10;
            if now > told {
                told = now;
                progress(now * 10);
            }
        }
        drop(chunks);
        hasher.join().map_err(|_| io::Error::other("the thread that hashes crashed"))
    })
}

fn hash(queue: Receiver<Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    queue.into_iter().for_each(|chunk| hash.update(&chunk));
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::spec::tests::spec;

    /// Three chunks and a bit, as a partition that goes on behind the image.
    fn disk(name: &str) -> (std::path::PathBuf, RootSpec) {
        let path = std::env::temp_dir().join(format!("meadow-examine-{name}-{}", std::process::id()));
        let image: Vec<u8> = (0..3 * CHUNK + 4096).map(|at| (at / 7) as u8).collect();
        std::fs::write(&path, [image.as_slice(), b"another file's bytes"].concat()).unwrap();
        let spec = RootSpec { size: image.len() as u64, sha256: hex(&Sha256::digest(&image)), ..spec() };
        (path, spec)
    }

    #[test]
    fn the_right_root_and_a_flipped_bit() {
        let (path, spec) = disk("flip");
        let steps = std::sync::Mutex::new(Vec::new());
        let told = |percent| steps.lock().unwrap().push(percent);
        assert!(matches!(examine(path.to_str().unwrap(), &spec, told), Verdict::Right));
        assert_eq!(steps.lock().unwrap().last(), Some(&100));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2 * CHUNK] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(examine(path.to_str().unwrap(), &spec, |_| ()), Verdict::Other));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_partition_that_is_too_small_or_gone() {
        let (path, spec) = disk("small");
        let larger = RootSpec { size: spec.size + 4096, ..spec };
        assert!(matches!(examine(path.to_str().unwrap(), &larger, |_| ()), Verdict::Other));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(examine(path.to_str().unwrap(), &larger, |_| ()), Verdict::Unreadable(_)));
    }
}
