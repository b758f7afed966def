//! Streams a file of an image into memory and hashes it on the way.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::{Context, bail, ensure};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mount::{MountFlags, UnmountFlags};
use sha2::{Digest, Sha256};

use crate::http::{Ask, Connection, Route};

/// Where the image's own tmpfs is while it is written.
const DIRECTORY: &str = "/meadow/image";
const CHUNK: usize = 256 * 1024;
/// Chunks between the network and the hash: they work beside each other.
const CHUNKS: usize = 8;
/// The tmpfs holds the image and its own bookkeeping.
const ROOM: u64 = 1 << 20;

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Name among the server's artifacts.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub sha256: String,
}

/// A file on its way; what arrived stays across attempts.
#[derive(Debug)]
pub struct Download {
    file: File,
    arrived: u64,
    hash: Sha256,
    verified: bool,
}

impl Download {
    /// An empty root image in a tmpfs of just its size (the default would be half of the memory).
    ///
    /// # Errors
    /// If the tmpfs cannot be made.
    pub fn prepare(wanted: &Artifact) -> anyhow::Result<Self> {
        fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
        let size = std::ffi::CString::new(format!("mode=0700,size={}", wanted.size + ROOM))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("meadow-image", DIRECTORY, "tmpfs", flags, Some(size.as_c_str()))
            .context("cannot make a tmpfs for the root image")?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(format!("{DIRECTORY}/{}", wanted.name))
            .context("cannot make the file of the root image")?;
        // The open file keeps its memory; no name is left to the booted system.
        rustix::mount::unmount(DIRECTORY, UnmountFlags::DETACH).context("cannot detach the image's tmpfs")?;
        Ok(Self::new(file))
    }

    /// An empty file of small size, without a name.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn small(wanted: &Artifact) -> anyhow::Result<Self> {
        let file = memfd_create(wanted.name.as_str(), MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
        Ok(Self::new(file.into()))
    }

    /// The file once more, for reading only, once it was verified: the kernel takes none to start that somebody could write.
    ///
    /// # Errors
    /// If it was not verified.
    pub fn into_readable(self) -> anyhow::Result<File> {
        let file = self.verified().context("it was not verified")?;
        let readable = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        readable.context("cannot open a file in memory again")
    }

    fn new(file: File) -> Self {
        Self { file, arrived: 0, hash: Sha256::new(), verified: false }
    }

    /// The image, once it was verified.
    #[must_use]
    pub fn verified(&self) -> Option<&File> {
        self.verified.then_some(&self.file)
    }

    fn start_over(&mut self) -> anyhow::Result<()> {
        use std::io::Seek;
        self.arrived = 0;
        self.hash = Sha256::new();
        self.file.set_len(0).context("cannot empty the image's file")?;
        self.file.rewind().context("cannot rewind the image's file")
    }
}

/// Fetches what is missing of the image and checks it. `progress` gets the percents.
///
/// # Errors
/// If the connection breaks (the next call goes on where it broke) or if the digest is wrong
/// (the next call begins anew). An image that fails is never kept.
pub fn fetch(download: &mut Download, wanted: &Artifact, route: &Route, progress: impl Fn(u8)) -> anyhow::Result<()> {
    if download.verified {
        return Ok(());
    }
    if download.arrived < wanted.size {
        let path = format!("/artifacts/{}", wanted.name);
        let ask = Ask::File { offset: download.arrived, sha256: &wanted.sha256 };
        let connection =
            Connection::open(route, ask, &path).with_context(|| format!("cannot fetch {path} from {}", route.base))?;
        check_head(download, wanted, &connection)?;
        receive(download, wanted, connection, &progress).with_context(|| {
            format!("the download of {path} broke after {} of {} bytes", download.arrived, wanted.size)
        })?;
    }
    let digest = hex(&download.hash.clone().finalize());
    if digest != wanted.sha256 {
        download.start_over()?;
        bail!(
            "{} has the digest {digest} instead of {}: it was damaged on its way, or the server has another image now (then restart this machine)",
            wanted.name,
            wanted.sha256
        );
    }
    download.verified = true;
    Ok(())
}

fn check_head(download: &mut Download, wanted: &Artifact, connection: &Connection) -> anyhow::Result<()> {
    let head = connection.head();
    let total = match (head.status, head.content_range) {
        (200, _) => {
            // Also when a server does not know ranges.
            download.start_over()?;
            head.content_length
        }
        (206, Some((first, total))) if first == download.arrived => Some(total),
        (206 | 416, _) => {
            download.start_over()?;
            bail!("the server answered with another range than was asked for");
        }
        (412, _) => bail!("the server has another {} now: restart this machine", wanted.name),
        (404, _) => bail!("the server has no {}: look at `meadow pxe status` there", wanted.name),
        (status, _) => bail!("the server answered with status {status}"),
    };
    ensure!(
        total == Some(wanted.size),
        "the server's {} does not have the {} bytes that it should: if its image was just replaced, restart this machine",
        wanted.name,
        wanted.size
    );
    Ok(())
}

/// Reads the body to its end: the socket on this thread, hash and file on another.
fn receive(
    download: &mut Download,
    wanted: &Artifact,
    mut connection: Connection,
    progress: &impl Fn(u8),
) -> anyhow::Result<()> {
    let mut arrived = download.arrived;
    thread::scope(|scope| {
        let (chunks, queue) = sync_channel::<Vec<u8>>(CHUNKS);
        let writer = thread::Builder::new()
            .name("image".to_owned())
            .spawn_scoped(scope, move || store(download, queue))
            .context("cannot start a thread")?;
        let mut told = None;
        let received = loop {
            let mut chunk = vec![0; CHUNK];
            match fill(&mut connection, &mut chunk) {
                Ok(0) => break Ok(()),
                Ok(count) => {
                    chunk.truncate(count);
                    arrived += count as u64;
                    if chunks.send(chunk).is_err() {
                        break Ok(()); // the writer failed, and says why below
                    }
                    let percent = percent(arrived, wanted.size);
                    if told != Some(percent / 10) {
                        told = Some(percent / 10);
                        progress(percent);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        drop(chunks);
        match writer.join() {
            Ok(stored) => stored.context("cannot keep it in memory")?,
            Err(_) => bail!("the thread that keeps it crashed"),
        }
        received.context("the connection broke")
    })
}

fn store(download: &mut Download, queue: Receiver<Vec<u8>>) -> std::io::Result<()> {
    for chunk in queue {
        download.file.write_all(&chunk)?;
        download.hash.update(&chunk);
        download.arrived += chunk.len() as u64;
    }
    Ok(())
}

/// Reads until the buffer is full or the body ends. What came before an error counts.
fn fill(connection: &mut Connection, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match connection.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(_) if filled > 0 => break, // the next read meets it again
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(super) fn percent(part: u64, whole: u64) -> u8 {
    u8::try_from((part.min(whole) * 100).checked_div(whole).unwrap_or(100)).unwrap_or(100)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
