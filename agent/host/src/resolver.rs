//! Names resolved as an application would.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

/// The first address that the system's `getaddrinfo` gives for `name`, or `None` where it gives none within `timeout`.
///
/// It goes through `/etc/nsswitch.conf` and so through `/etc/hosts`, which is the point: it shows whether programs on
/// this machine find a node. `getaddrinfo` cannot be cancelled; after a timeout its thread ends when it does.
pub async fn resolves(name: &str, timeout: Duration) -> Option<IpAddr> {
    let name = name.to_owned();
    let lookup = tokio::task::spawn_blocking(move || (name.as_str(), 0).to_socket_addrs().ok()?.next());
    let address = tokio::time::timeout(timeout, lookup).await.ok()?.ok()??;
    Some(address.ip())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::resolves;

    #[tokio::test]
    async fn localhost_is_found_and_nonsense_is_not() {
        let timeout = Duration::from_secs(60);
        assert!(resolves("localhost", timeout).await.is_some_and(|address| address.is_loopback()));
        assert_eq!(resolves("bad..name", timeout).await, None);
    }
}
