//! Listens for the API: TLS on TCP, and plain HTTP on the local socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use meadow_api::{Identity, PeerAddress, Role as ApiRole};
use meadow_host::files;
use meadow_pki::{Peer, PeerClassifier, Role};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::patience::Patient;

/// A handshake takes milliseconds; whoever needs longer holds a place that others could use.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request.
const HEADER: Duration = Duration::from_secs(30);
/// How long a client may take to read a part of an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long to wait after a connection that could not be accepted: out of file descriptors, mostly, and trying again at
/// once would spin.
const BREATH: Duration = Duration::from_millis(100);
/// Connections at a time. A home cluster has tens of nodes; more is an attack or a bug, and memory is small.
const CONNECTIONS: usize = 512;

/// Tells whether a certified node still belongs to the cluster.
pub(crate) trait Membership: Send + Sync + 'static {
    /// Whether the key belongs to a node of the cluster now.
    fn is_member(&self, fingerprint: &meadow_model::Fingerprint) -> bool;
}

/// The API over TLS.
pub(crate) struct TlsListener {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) classifier: Arc<PeerClassifier>,
    pub(crate) membership: Arc<dyn Membership>,
    pub(crate) router: Router,
}

impl TlsListener {
    /// Serves for ever on `listener`.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                // The handshake runs in the connection's own task: a slow client must not keep the others waiting.
                Ok((stream, from)) => {
                    let this = self.clone();
                    tokio::spawn(async move {
                        if let Err(e) = this.connection(stream, from).await {
                            debug!(%from, "connection ended: {e:#}");
                        }
                        drop(place);
                    });
                }
                Err(e) => {
                    warn!("cannot accept a connection: {e}");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: SocketAddr) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let handshake = TlsAcceptor::from(self.tls.clone()).accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE, handshake).await.context("the TLS handshake took too long")??;
        let peer = self.classifier.classify(stream.get_ref().1.peer_certificates())?;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let router = self.router.clone();
        serve_http(stream, router, move || identity(&*self.membership, &peer), Some(from)).await
    }
}

/// Who asks. A connection may outlive a membership, so this is decided for each request.
fn identity(membership: &dyn Membership, peer: &Peer) -> Identity {
    let user = |name: &meadow_model::Name, role| Identity::User { name: name.to_string(), role };
    match peer {
        Peer::Anonymous => Identity::Anonymous,
        Peer::Key(key) => Identity::Key(key.clone()),
        Peer::Member { name, role: Role::Admin, .. } => user(name, ApiRole::Admin),
        Peer::Member { name, role: Role::Operator, .. } => user(name, ApiRole::Operator),
        Peer::Member { name, role: Role::Viewer, .. } => user(name, ApiRole::Viewer),
        // A certificate never expires; the replicated state says who still belongs to the cluster.
        Peer::Member { name, role: Role::Node | Role::Voter, key } if membership.is_member(&key.fingerprint()) => {
            Identity::Node { name: name.clone(), key: key.clone() }
        }
        Peer::Member { role: Role::Node | Role::Voter, key, .. } => Identity::Key(key.clone()),
    }
}

/// Serves the API to root on this computer, on the Unix socket at `path`.
pub(crate) async fn serve_local(path: &Path, router: Router) -> anyhow::Result<()> {
    // A socket left by an agent that was killed would make binding fail.
    files::remove(path)?;
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    files::make_private(path)?;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Strangers on the network can use up the file descriptors; that must not end the agent.
            Err(e) => {
                warn!("cannot accept a local connection: {e}");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            if let Err(e) = serve_http(stream, router, || Identity::Local, None).await {
                debug!("local connection ended: {e:#}");
            }
        });
    }
}

async fn serve_http<S>(
    stream: S,
    router: Router,
    identity: impl Fn() -> Identity,
    from: Option<SocketAddr>,
) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(identity());
        if let Some(from) = from {
            request.extensions_mut().insert(PeerAddress(from));
        }
        router.clone().oneshot(request.map(Body::new))
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(Patient::new(stream, ANSWER)), service)
        .await?;
    Ok(())
}
