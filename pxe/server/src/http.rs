//! Boot files, scripts and the initrd's questions over HTTP/1.1.

mod body;
mod connection;
mod own_file;
mod response;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::interface::Link;
use crate::shared::Shared;
use crate::supervisor::PAUSE_AFTER_ERROR;

/// Connections at once, of all clients and of one.
const MAX_CONNECTIONS: usize = 512;
const MAX_PER_CLIENT: usize = 32;

/// Listens on the address that offers name. A restart may take the port over from connections
/// that are still closing; a second listener is refused all the same.
pub(crate) async fn bind(link: &Link, port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((link.address, port)).await
}

/// Serves until the task is aborted, which closes all connections too.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener, local: Ipv4Addr) {
    let mut connections = JoinSet::new();
    let mut clients = Clients::default();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Ok(client) = ended {
                    clients.remove(client);
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, SocketAddr::V4(client))) => {
                    if !clients.add(*client.ip()) {
                        tracing::debug!(%client, "too many HTTP connections, closed");
                        continue;
                    }
                    let shared = shared.clone();
                    connections.spawn(async move {
                        run(shared, stream, local, *client.ip()).await;
                        *client.ip()
                    });
                }
                Ok((_, SocketAddr::V6(_))) => {}
                Err(error) => {
                    tracing::debug!(%error, "accepting an HTTP connection failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

async fn run(shared: Arc<Shared>, stream: TcpStream, local: Ipv4Addr, client: Ipv4Addr) {
    // Heads and small files go out at once; sendfile fills its segments anyway.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY failed");
    }
    if let Err(error) = connection::Connection::new(shared, stream, local, client).run().await {
        tracing::debug!(%client, %error, "HTTP connection ended");
    }
}

/// Open connections by client.
#[derive(Default)]
struct Clients {
    by_address: HashMap<IpAddr, usize>,
    total: usize,
}

impl Clients {
    fn add(&mut self, client: Ipv4Addr) -> bool {
        if self.total >= MAX_CONNECTIONS {
            return false;
        }
        let count = self.by_address.entry(client.into()).or_default();
        if *count >= MAX_PER_CLIENT {
            return false;
        }
        *count += 1;
        self.total += 1;
        true
    }

    fn remove(&mut self, client: Ipv4Addr) {
        let client = client.into();
        if let Some(count) = self.by_address.get_mut(&client) {
            *count -= 1;
            self.total -= 1;
            if *count == 0 {
                self.by_address.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_all_connections() {
        let mut clients = Clients::default();
        let greedy = Ipv4Addr::new(192, 0, 2, 1);
        for _ in 0..MAX_PER_CLIENT {
            assert!(clients.add(greedy));
        }
        assert!(!clients.add(greedy));
        assert!(clients.add(Ipv4Addr::new(192, 0, 2, 2)));
        clients.remove(greedy);
        assert!(clients.add(greedy));
    }
}
