//! Sends files without copying them through this program.

use std::fs::File;
use std::io;
use std::time::Duration;

use meadow_netboot::http::ByteRange;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a client may take not a single byte.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// Sent by one call: other connections on this thread wait that long, were the disk slow.
const CHUNK: u64 = 512 << 10;

/// Sends a part of a file; `progress` is told the bytes sent so far.
pub(super) async fn send_file(
    stream: &TcpStream,
    file: &File,
    range: ByteRange,
    progress: &mut (dyn FnMut(u64) + Send),
) -> io::Result<()> {
    let end = range.start + range.length;
    let mut offset = range.start;
    while offset < end {
        // Fits: at most CHUNK.
        let count = (end - offset).min(CHUNK) as usize;
        let send = stream.async_io(Interest::WRITABLE, || {
            let mut at = offset;
            Ok(rustix::fs::sendfile(stream, file, Some(&mut at), count)?)
        });
        match timeout(STALL, send).await {
            Ok(Ok(0)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")),
            Ok(Ok(sent)) => offset += sent as u64,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        progress(offset - range.start);
    }
    Ok(())
}
