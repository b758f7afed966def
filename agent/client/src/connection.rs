//! One HTTP/1.1 connection.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use crate::Endpoint;

/// A connection that may carry one request after another.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

/// Why a request got no answer on a connection.
pub(crate) enum SendError {
    /// It was not sent: it may be sent again elsewhere without risk.
    NotSent,
    /// It may have been carried out.
    Lost(hyper::Error),
}

impl Connection {
    /// Connects over TCP.
    pub(crate) async fn tcp(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Begins TLS on a stream.
    pub(crate) async fn tls(stream: TcpStream, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let name = ServerName::try_from(meadow_pki::SERVER_NAME).map_err(std::io::Error::other)?;
        Self::over(TlsConnector::from(config).connect(name, stream).await?).await
    }

    /// Connects over TCP alone.
    pub(crate) async fn plain(authority: &str) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(authority).await?).await
    }

    /// Connects to the agent's Unix socket.
    pub(crate) async fn unix(path: &Path) -> std::io::Result<Self> {
        Self::over(UnixStream::connect(path).await?).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> std::io::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        // Ends when the sender is dropped or the peer closes; what goes wrong is told to whoever waits for an answer.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        if self.0.ready().await.is_err() {
            return Err(SendError::NotSent);
        }
        self.0.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(_) => SendError::NotSent,
            None => SendError::Lost(error.into_error()),
        })
    }
}
