//! Sends files without copying them through this program.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use meadow_netboot::http::ByteRange;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::crowd::{PORTION, Place};
use crate::artifacts::Artifact;
use crate::page_cache::PageCache;

/// How long a client may take for a portion, whether or not others want its place: 2 KiB/s is slower than any link that
/// machines boot over.
pub(super) const STALL: Duration = Duration::from_secs(30);

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
    place: &Place,
    progress: &mut (dyn FnMut(u64) + Send),
) -> io::Result<()> {
    // Else the kernel sends the end of each of its pieces as a segment of its own: the client acknowledges nearly twice as
    // often, and one connection alone has three fifths of the speed.
    rustix::net::sockopt::set_tcp_cork(stream, true)?;
    let end = range.start + range.length;
    let (mut offset, mut known) = (range.start, 0..0);
    let (mut deadline, mut enough) = (Instant::now() + STALL, offset + PORTION);
    while offset < end {
        // For a slow disk the client cannot be blamed.
        let bring_in = page_cache.bring_in(artifact, &mut known, offset..offset + 1);
        if place.while_we_work(bring_in).await? {
            place.used(Instant::now());
            (deadline, enough) = (Instant::now() + STALL, offset + PORTION);
        }
        // All that is known to be in memory, which fits: each turn costs.
        let count = (end.min(known.end) - offset) as usize;
        let send = stream.async_io(Interest::WRITABLE, || {
            let mut at = offset;
            Ok(rustix::fs::sendfile(stream, &artifact.file, Some(&mut at), count)?)
        });
        match timeout_at(deadline, send).await {
            Ok(Ok(0)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")),
            Ok(Ok(sent)) => offset += sent as u64,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        if offset >= enough {
            place.used(Instant::now());
            (deadline, enough) = (Instant::now() + STALL, offset + PORTION);
        }
        progress(offset - range.start);
    }
    // Sends the end.
    Ok(rustix::net::sockopt::set_tcp_cork(stream, false)?)
}
