//! Sends files without copying them through this program.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use meadow_netboot::http::ByteRange;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::artifacts::Artifact;
use crate::page_cache::PageCache;

/// How long a client may take for as many bytes as below: 0.5 KiB/s is slower than any link that machines boot over.
pub(super) const STALL: Duration = Duration::from_secs(30);
const STALL_BYTES: u64 = 16 << 10;

/// Sent by one call at first, and at most while calls are quick: each turn costs, and whoever shares this thread waits for
/// a disk of which nobody knew that it has to be read.
const LEAST: u64 = 128 << 10;
const MOST: u64 = 2 << 20;
const QUICK: Duration = Duration::from_millis(2);

/// Sends what comes before a file, to share its first segment.
pub(super) async fn send_head(stream: &TcpStream, head: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + STALL;
    let mut rest = head;
    while !rest.is_empty() {
        let send = stream.async_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, rest, SendFlags::MORE)?));
        let sent = timeout_at(deadline, send).await.map_err(|_| io::ErrorKind::TimedOut)??;
        rest = &rest[sent..];
    }
    Ok(())
}

/// Sends a part of a file; `progress` is told the bytes sent so far.
pub(super) async fn send_file(
    stream: &TcpStream,
    artifact: &Arc<Artifact>,
    range: ByteRange,
    page_cache: &PageCache,
    progress: &mut (dyn FnMut(u64) + Send),
) -> io::Result<()> {
    let end = range.start + range.length;
    let (mut offset, mut known) = (range.start, 0..0);
    let (mut deadline, mut enough) = (Instant::now() + STALL, offset + STALL_BYTES);
    let mut chunk = LEAST;
    while offset < end {
        // For a slow disk the client cannot be blamed.
        if page_cache.bring_in(artifact, &mut known, offset..offset + 1).await? {
            (deadline, enough) = (Instant::now() + STALL, offset + STALL_BYTES);
        }
        // Fits: at most MOST.
        let count = (end.min(known.end) - offset).min(chunk) as usize;
        let send = stream.async_io(Interest::WRITABLE, || {
            let (mut at, begun) = (offset, Instant::now());
            let sent = rustix::fs::sendfile(stream, &artifact.file, Some(&mut at), count)?;
            chunk = if begun.elapsed() < QUICK { MOST.min(chunk * 2) } else { LEAST };
            Ok(sent)
        });
        match timeout_at(deadline, send).await {
            Ok(Ok(0)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")),
            Ok(Ok(sent)) => offset += sent as u64,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        if offset >= enough {
            (deadline, enough) = (Instant::now() + STALL, offset + STALL_BYTES);
        }
        progress(offset - range.start);
    }
    Ok(())
}
