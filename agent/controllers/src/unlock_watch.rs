//! Who waits for a passphrase: installed nodes that are not ready, and whose initramfs answers over SSH.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use meadow_model::node::{Node, NodeState};
use meadow_model::{Name, preboot};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A node on the LAN answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(2);
/// What an SSH server says first (RFC 4253, 4.2), here Dropbear's, which a booted node does not run.
const BANNER: &[u8] = b"SSH-2.0-dropbear";

/// Asks each node that may wait, all at once.
pub async fn look(nodes: impl Iterator<Item = Node>) -> BTreeSet<Name> {
    let asked = nodes.filter(may_wait).filter_map(|node| {
        let address = node.status.endpoint?.ip();
        Some(async move { answers(address, preboot::UNLOCK_PORT).await.then_some(node.metadata.name) })
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

fn may_wait(node: &Node) -> bool {
    node.status.installed.is_some() && node.status.state == NodeState::NotReady
}

async fn answers(address: IpAddr, port: u16) -> bool {
    let banner = async {
        let mut stream = TcpStream::connect(SocketAddr::new(address, port)).await.ok()?;
        let mut found = [0; BANNER.len()];
        stream.read_exact(&mut found).await.ok()?;
        Some(found == BANNER)
    };
    matches!(tokio::time::timeout(TIMEOUT, banner).await, Ok(Some(true)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn asked(says: &'static [u8]) -> bool {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(says).await.expect("said");
        };
        tokio::join!(answers(Ipv4Addr::LOCALHOST.into(), port), server).0
    }

    #[tokio::test]
    async fn only_the_prompt_of_an_initramfs_counts() {
        assert!(asked(b"SSH-2.0-dropbear_2025.89\r\n").await);
        assert!(!asked(b"SSH-2.0-OpenSSH_10.0\r\n").await);
        assert!(!asked(b"").await);
    }
}
