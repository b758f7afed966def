//! The client of `meadow-disks`, the helper that may write disks (decision 0006).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use meadow_model::Secret;
use meadow_model::install::{DiskReply, DiskRequest, InstalledDisk};
use meadow_model::network::KnownNetwork;
use meadow_model::reset::ErasedDisk;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// No line of the helper is longer: a backup of a header is the longest.
const LONGEST_LINE: u64 = 6 << 20;
/// The helper says something at least this often, also while a slow disk is written.
const SILENCE: Duration = Duration::from_secs(300);

/// Where the helper listens.
#[derive(Clone, Debug)]
pub struct DiskHelper {
    socket: PathBuf,
}

/// What the helper did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskWork {
    /// The disk as it is now.
    pub disk: Option<InstalledDisk>,
    /// A recovery key that was made.
    pub recovery_key: Option<Secret<String>>,
    /// How the network cards are set, where that was asked.
    pub network: Option<Box<KnownNetwork>>,
    /// A packed backup of the header, where that was asked.
    pub header: Option<Secret<String>>,
    /// Further disks that were wiped.
    pub erased: Vec<ErasedDisk>,
}

/// The helper did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// There is no helper on this computer.
    #[error("disks cannot be changed on this computer: {path} does not answer ({error}); is it Meadow's own image?")]
    Absent {
        /// Its socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The connection broke, or the helper said what nobody understands.
    #[error("the disk helper broke off ({0}); look at its log, then ask again: it goes on where it was")]
    Broken(String),
    /// The helper says why not.
    #[error("{0}")]
    Refused(String),
}

impl DiskHelper {
    /// The helper behind this socket.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Lets the helper do `request`; `progress` hears of each step.
    ///
    /// # Errors
    /// [`DiskError`].
    pub async fn ask(
        &self,
        request: &DiskRequest,
        mut progress: impl FnMut(&str, Option<u8>),
    ) -> Result<DiskWork, DiskError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| DiskError::Absent { path: self.socket.clone(), error })?;
        let (read, mut write) = stream.into_split();
        let mut line = serde_json::to_vec(request).map_err(|e| DiskError::Broken(e.to_string()))?;
        line.push(b'\n');
        let sent = write.write_all(&line).await;
        zeroize::Zeroize::zeroize(&mut line);
        sent.map_err(|e| DiskError::Broken(e.to_string()))?;
        let mut read = BufReader::new(read);
        loop {
            match reply(&mut read).await? {
                DiskReply::Progress { step, percent } => progress(&step, percent),
                DiskReply::Done { disk, recovery_key, network, header, erased } => {
                    return Ok(DiskWork { disk, recovery_key, network, header, erased });
                }
                DiskReply::Failed { why } => return Err(DiskError::Refused(why)),
            }
        }
    }
}

async fn reply(read: &mut BufReader<tokio::net::unix::OwnedReadHalf>) -> Result<DiskReply, DiskError> {
    let mut line = Vec::new();
    let mut bounded = read.take(LONGEST_LINE);
    let length = tokio::time::timeout(SILENCE, bounded.read_until(b'\n', &mut line))
        .await
        .map_err(|_| DiskError::Broken("it says nothing any more".to_owned()))?
        .map_err(|e| DiskError::Broken(e.to_string()))?;
    if length == 0 {
        return Err(DiskError::Broken("it ended without a result".to_owned()));
    }
    let reply = serde_json::from_slice(&line).map_err(|e| DiskError::Broken(e.to_string()));
    zeroize::Zeroize::zeroize(&mut line);
    reply
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// Answers one connection with these bytes.
    async fn answer(bytes: &'static [u8]) -> Result<(DiskWork, Vec<String>), DiskError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disks.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.expect("a request");
            assert_eq!(&request[..length], b"{\"do\":\"look\"}\n");
            stream.write_all(bytes).await.expect("answered");
        });
        let mut steps = Vec::new();
        let result = DiskHelper::at(&path).ask(&DiskRequest::Look, |step, _| steps.push(step.to_owned())).await;
        server.await.expect("served");
        result.map(|work| (work, steps))
    }

    #[tokio::test]
    async fn progress_and_result() {
        let (work, steps) = answer(
            b"{\"is\":\"progress\",\"step\":\"looks\",\"percent\":null}\n{\"is\":\"done\",\"disk\":null,\"recovery_key\":\"k\"}\n",
        )
        .await
        .expect("done");
        assert_eq!(steps, ["looks"]);
        assert_eq!(work.recovery_key, Some(Secret::new("k".to_owned())));
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let refused = answer(b"{\"is\":\"failed\",\"why\":\"too small\"}\n").await;
        assert!(matches!(refused, Err(DiskError::Refused(why)) if why == "too small"));
        for broken in [b"".as_slice(), b"nonsense\n", b"{\"is\":\"progress\",\"step\":\"x\",\"percent\":1}\n"] {
            assert!(matches!(answer(broken).await, Err(DiskError::Broken(_))));
        }
        let absent = DiskHelper::at("/does/not/exist").ask(&DiskRequest::Look, |_, _| {}).await;
        assert!(matches!(absent, Err(DiskError::Absent { .. })));
    }
}
