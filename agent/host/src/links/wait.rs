//! Waiting for the network.

use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;

use super::{Link, LinkError, Links};
use crate::Cidr;

impl Links {
    /// Waits until an interface has an address that others can reach, and gives both.
    ///
    /// `interface` is the one to look at, or `None` for any but loopback and Meadow's own mesh. The kernel's events are
    /// listened to; nothing is polled.
    ///
    /// # Errors
    /// [`LinkError::TimedOut`], or what the kernel refused.
    pub async fn wait_for_address(
        &self,
        interface: Option<&str>,
        timeout: Duration,
    ) -> Result<(Link, Cidr), LinkError> {
        let wanted = |link: &Link| match interface {
            Some(name) => link.name == name,
            None => !link.loopback && link.name != meadow_model::mesh::MESH_INTERFACE,
        };
        let found = self.wait_until(|links| {
            let usable = links.iter().filter(|link| wanted(link));
            usable.flat_map(|link| link.routable_addresses().map(move |cidr| (link.clone(), cidr))).next()
        });
        match tokio::time::timeout(timeout, found).await {
            Ok(result) => result,
            Err(_) => Err(LinkError::TimedOut {
                interface: interface.unwrap_or("any interface").to_owned(),
                what: "address",
                seconds: timeout.as_secs(),
            }),
        }
    }

    /// Looks at the interfaces now and after every change of a link or an address, until `check` gives a value.
    async fn wait_until<T>(&self, check: impl Fn(&[Link]) -> Option<T>) -> Result<T, LinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _handle, mut events) = rtnetlink::new_multicast_connection(&groups)?;
        let listener = AbortOnDrop(tokio::spawn(connection).abort_handle());
        loop {
            // After the subscription, so that a change between the look and the wait is not missed.
            if let Some(value) = check(&self.list().await?) {
                drop(listener);
                return Ok(value);
            }
            if events.next().await.is_none() {
                return Err(LinkError::Socket(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
            }
        }
    }
}

/// Ends a background task with the future that needs it, also when that is dropped by a timeout.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
