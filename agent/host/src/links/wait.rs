//! Waiting for the network.

use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;

use super::{Link, LinkError, Links};
use crate::Cidr;
use crate::background::Background;

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

    /// Waits until there is no interface of this number any more.
    ///
    /// # Errors
    /// [`LinkError::TimedOut`], or what the kernel refused.
    pub(crate) async fn wait_until_gone(&self, link: (&str, u32), timeout: Duration) -> Result<(), LinkError> {
        let (name, index) = link;
        let gone = self.wait_until(|links| links.iter().all(|link| link.index != index).then_some(()));
        let timed_out = |_| LinkError::StillThere(name.to_owned());
        tokio::time::timeout(timeout, gone).await.map_err(timed_out)?
    }

    /// Looks at the interfaces now and after every change of a link or an address, until `check` gives a value.
    async fn wait_until<T>(&self, check: impl Fn(&[Link]) -> Option<T>) -> Result<T, LinkError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let (connection, _handle, mut events) = rtnetlink::new_multicast_connection(&groups)?;
        let _background = Background::spawn(connection);
        loop {
            // After the subscription, so that a change between the look and the wait is not missed.
            if let Some(value) = check(&self.list().await?) {
                return Ok(value);
            }
            if events.next().await.is_none() {
                return Err(LinkError::Socket(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
            }
        }
    }
}
