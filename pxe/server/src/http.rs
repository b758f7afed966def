//! Boot files, scripts and the initrd's questions over HTTP/1.1.

mod body;
mod connection;
mod crowd;
mod own_file;
mod response;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::interface::Link;
use crate::shared::Shared;
use crate::supervisor::PAUSE_AFTER_ERROR;

use crowd::{Clients, Crowd};

/// Connections that wait to be taken up. The kernel may allow fewer (`net.core.somaxconn`, 4096).
const BACKLOG: u32 = 4096;

/// Listens on the address that offers name. A restart may take the port over from connections
/// that are still closing; a second listener is refused all the same.
pub(crate) fn bind(link: &Link, port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((link.address, port)))?;
    socket.listen(BACKLOG)
}

/// Serves until the task is aborted, which closes all connections too.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, local: SocketAddr) {
    let mut connections = JoinSet::new();
    let mut clients = Clients::default();
    loop {
        tokio::select! {
            // Places are given back before new ones are taken.
            biased;
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Ok(client) = ended {
                    clients.remove(client);
                }
            }
            // Who comes beyond waits in the kernel until somebody has gone: firmware does not come again.
            accepted = listener.accept(), if !clients.is_full() => match accepted {
                Ok((stream, client)) => {
                    let client = client.ip();
                    if !clients.add(client) {
                        shared.counting.http_refused.add(1);
                        tracing::debug!(%client, "too many HTTP connections, closed");
                        continue;
                    }
                    shared.counting.http_connections.add(1);
                    let (shared, crowd) = (shared.clone(), clients.crowd());
                    connections.spawn(async move {
                        run(shared, stream, local, client, crowd).await;
                        client
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "accepting an HTTP connection failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

async fn run(shared: Arc<Shared>, stream: TcpStream, local: SocketAddr, client: IpAddr, crowd: Arc<Crowd>) {
    // Heads and small files go out at once; sendfile fills its segments anyway.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY failed");
    }
    if let Err(error) = connection::Connection::new(shared, stream, local, client, crowd).run().await {
        tracing::debug!(%client, %error, "HTTP connection ended");
    }
}
