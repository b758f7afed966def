//! Boot files, scripts and the initrd's questions over HTTP/1.1.

mod body;
mod connection;
mod crowd;
mod own_file;
mod response;
mod seat;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::interface::{self, Link};
use crate::segment::Segment;
use crate::supervisor::PAUSE_AFTER_ERROR;

use crowd::Place;

pub(crate) use crowd::Crowd;

/// Connections that wait to be taken up. The kernel may allow fewer (`net.core.somaxconn`, 4096).
const BACKLOG: u32 = 4096;
/// How often the interface's IPv6 addresses are looked at: they come and go.
const LOOK: Duration = Duration::from_secs(5);

/// Listens on the address that offers name. A restart may take the port over from connections
/// that are still closing; a second listener is refused all the same.
pub(crate) fn bind(link: &Link, port: u16) -> std::io::Result<TcpListener> {
    listen(SocketAddr::from((link.address, port)))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the task is aborted, which closes all connections too. `own` is what URLs name, unless a client came to
/// a global IPv6 address.
pub(crate) async fn serve(segment: Arc<Segment>, listener: TcpListener, own: SocketAddr) {
    let mut connections = JoinSet::new();
    let (crowd, counting) = (&segment.shared.crowd, &segment.shared.counting);
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    let client = client.ip();
                    if !is_near(&stream, client) {
                        counting.http_refused.add(1);
                        tracing::debug!(%client, "not of this link, closed");
                        continue;
                    }
                    // Who comes behind it waits in the kernel meanwhile: firmware does not come again.
                    let Some(place) = crowd.enter(client).await else {
                        counting.http_refused.add(1);
                        tracing::debug!(%client, "too many HTTP connections, closed");
                        continue;
                    };
                    counting.http_connections.add(1);
                    let local = reached(&stream, own);
                    connections.spawn(run(segment.clone(), stream, local, place));
                }
                Err(error) => {
                    tracing::debug!(%error, "accepting an HTTP connection failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

/// Whether a client may be one of this link. A global IPv6 address is reached from everywhere where no router filters, and
/// what a machine is told is for its LAN alone: others than those of the same /64 are turned away.
fn is_near(stream: &TcpStream, client: IpAddr) -> bool {
    let IpAddr::V6(client) = client else { return true };
    let Ok(SocketAddr::V6(local)) = stream.local_addr() else { return false };
    client.is_unicast_link_local() || client.segments()[..4] == local.ip().segments()[..4]
}

/// Serves on the IPv6 addresses of the interface, until the task is aborted. Not on all addresses at once: nodes fetch
/// images at the same port of the mesh address.
pub(crate) async fn serve_v6(segment: Arc<Segment>, link: Link) {
    let own = SocketAddr::from((link.address, segment.shared.config.ports.http));
    let (mut tasks, mut by_address) = (JoinSet::new(), HashMap::<_, AbortHandle>::new());
    loop {
        let addresses = interface::ipv6_addresses(&link.name);
        by_address.retain(|address, task| {
            let is_there = addresses.contains(address);
            if !is_there {
                task.abort();
            }
            is_there
        });
        for address in addresses {
            if by_address.contains_key(&address) {
                continue;
            }
            // Only an address of the link needs the interface.
            let scope = if address.is_unicast_link_local() { link.index } else { 0 };
            match listen(SocketAddrV6::new(address, own.port(), 0, scope).into()) {
                Ok(listener) => {
                    by_address.insert(address, tasks.spawn(serve(segment.clone(), listener, own)));
                }
                // One that is still looked for on the link (duplicate address detection) is there a moment later.
                Err(error) => tracing::debug!(%address, %error, "not served over IPv6 yet"),
            }
        }
        while tasks.try_join_next().is_some() {}
        tokio::time::sleep(LOOK).await;
    }
}

/// How a client names this server: by the address that it came to. One of a link says nothing on another computer.
fn reached(stream: &TcpStream, own: SocketAddr) -> SocketAddr {
    match stream.local_addr() {
        Ok(SocketAddr::V6(local)) if !local.ip().is_unicast_link_local() => {
            SocketAddr::from((*local.ip(), local.port()))
        }
        _ => own,
    }
}

async fn run(segment: Arc<Segment>, stream: TcpStream, local: SocketAddr, place: Place) {
    let client = place.client;
    // Heads and small files go out at once; sendfile fills its segments anyway.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY failed");
    }
    if let Err(error) = connection::Connection::new(segment, stream, local, place).run().await {
        tracing::debug!(%client, %error, "HTTP connection ended");
    }
}
