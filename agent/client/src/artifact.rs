//! The boot server's files, over plain HTTP: whoever fetches one knows its digest from a signed manifest.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use crate::connection::{Connection, SendError};

/// TCP port of the boot server's HTTP.
pub const ARTIFACT_PORT: u16 = 7480;
/// The folder of the image that a boot server serves.
pub const ARTIFACTS: &str = "artifacts";
/// A server that sends nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// An artifact did not come.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// No connection, or it broke.
    #[error("{authority} does not send {name}: {why}")]
    Broken {
        /// Host and port.
        authority: String,
        /// The artifact.
        name: String,
        /// What went wrong.
        why: String,
    },
    /// The server answered with something else.
    #[error("{authority} answered {status} for {name}; is another image there by now?")]
    Status {
        /// Host and port.
        authority: String,
        /// The artifact.
        name: String,
        /// The status.
        status: StatusCode,
    },
    /// More bytes than the manifest says.
    #[error("{name} of {authority} is larger than {limit} bytes")]
    TooLarge {
        /// Host and port.
        authority: String,
        /// The artifact.
        name: String,
        /// Most bytes that were expected.
        limit: u64,
    },
    /// The bytes cannot be kept.
    #[error("{name} cannot be kept: {error}")]
    Sink {
        /// The artifact.
        name: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Fetches the file `name` of `folder` (such as [`ARTIFACTS`]) from the server at `authority` (`host:port`) and hands its
/// bytes to `sink`, at most `limit`; the number of bytes.
///
/// # Errors
/// [`ArtifactError`].
pub async fn fetch_artifact(
    authority: &str,
    folder: &str,
    name: &str,
    limit: u64,
    mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, ArtifactError> {
    let broken = |why: String| ArtifactError::Broken { authority: authority.to_owned(), name: name.to_owned(), why };
    let silent = |_| broken(format!("it said nothing for {} s", SILENCE.as_secs()));
    let mut body = tokio::time::timeout(SILENCE, open(authority, folder, name)).await.map_err(silent)??;
    let mut length = 0;
    while let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await.map_err(silent)? {
        let Ok(piece) = frame.map_err(|e| broken(e.to_string()))?.into_data() else { continue };
        length += piece.len() as u64;
        if length > limit {
            return Err(ArtifactError::TooLarge { authority: authority.to_owned(), name: name.to_owned(), limit });
        }
        sink(&piece).map_err(|error| ArtifactError::Sink { name: name.to_owned(), error })?;
    }
    Ok(length)
}

async fn open(authority: &str, folder: &str, name: &str) -> Result<Incoming, ArtifactError> {
    let broken = |why: String| ArtifactError::Broken { authority: authority.to_owned(), name: name.to_owned(), why };
    let mut connection = Connection::plain(authority).await.map_err(|e| broken(e.to_string()))?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("/{folder}/{name}"))
        .header(http::header::HOST, authority)
        .body(Full::new(Bytes::new()))
        .map_err(|e| broken(e.to_string()))?;
    let response = connection.send(request).await.map_err(|error| match error {
        SendError::NotSent => broken("it closed the connection".to_owned()),
        SendError::Lost(error) => broken(error.to_string()),
    })?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(ArtifactError::Status { authority: authority.to_owned(), name: name.to_owned(), status });
    }
    Ok(response.into_body())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn fetched(answer: &'static str, limit: u64) -> Result<Vec<u8>, ArtifactError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("bound").to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.expect("a request");
            assert!(request[..length].starts_with(b"GET /artifacts/grub/core.img HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.expect("answered");
        });
        let mut bytes = Vec::new();
        let result = fetch_artifact(&authority, ARTIFACTS, "grub/core.img", limit, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        let result = result.await;
        server.await.expect("served");
        result.map(|_| bytes)
    }

    #[tokio::test]
    async fn what_comes_is_handed_on_up_to_the_limit() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(fetched(whole, 3).await.expect("came"), b"abc");
        assert!(matches!(fetched(whole, 2).await, Err(ArtifactError::TooLarge { .. })));
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc";
        assert!(matches!(fetched(cut, 9).await, Err(ArtifactError::Broken { .. })));
        let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        assert!(matches!(fetched(gone, 9).await, Err(ArtifactError::Status { status: StatusCode::NOT_FOUND, .. })));
    }
}
