//! Many downloads at once, over HTTP and TFTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use meadow_rack::namespace::Namespace;
use meadow_rack::wait;

use crate::http_client::Connection;
use crate::tftp_client::{self, Download, Wishes};

/// Port of the boot server for HTTP.
pub(crate) const HTTP: u16 = 7480;
/// Port of a TFTP server.
pub(crate) const TFTP: u16 = 69;

/// Where a boot server has the artifact `name`.
pub(crate) fn artifact(name: &str) -> String {
    format!("/artifacts/{name}")
}

/// Waits until the boot server serves the artifact `name`.
///
/// # Errors
/// When it does not within a minute.
pub(crate) fn wait_served(namespace: &Namespace, server: Ipv4Addr, name: &str) -> Result<()> {
    let head =
        || Connection::open(Ipv4Addr::UNSPECIFIED, SocketAddr::from((server, HTTP)))?.ask("HEAD", &artifact(name));
    let answers = || in_namespace(namespace, || Ok(head().ok().map(drop)));
    wait::until(&format!("the boot server with {name}"), Duration::from_secs(60), answers)
}

/// Clients with an address each, as machines have: a server may limit what one address gets.
#[derive(Debug)]
pub(crate) struct Clients {
    namespace: Namespace,
    addresses: Vec<Ipv4Addr>,
}

impl Clients {
    /// Gives `addresses` with this length of their network's prefix to the interface of `namespace`.
    ///
    /// # Errors
    /// When one cannot be added.
    pub(crate) fn create(namespace: Namespace, addresses: Vec<Ipv4Addr>, prefix: u8) -> Result<Self> {
        for address in &addresses {
            namespace.ip(&["addr", "add", &format!("{address}/{prefix}"), "dev", "eth0"])?;
        }
        Ok(Self { namespace, addresses })
    }

    /// The first `count` download the artifact `name` over HTTP at once, `times` times on one connection each; gives
    /// the bytes of each.
    pub(crate) fn over_http(&self, count: usize, server: Ipv4Addr, name: &str, times: u32) -> Vec<Result<u64>> {
        self.at_once(count, |own| {
            let mut connection = Connection::open(own, SocketAddr::from((server, HTTP)))?;
            (0..times).map(|_| connection.ask("GET", &artifact(name))).sum()
        })
    }

    /// The first `count` download the artifact `name` over TFTP at once.
    pub(crate) fn over_tftp(
        &self,
        count: usize,
        server: Ipv4Addr,
        name: &str,
        wishes: Wishes,
    ) -> Vec<Result<Download>> {
        self.at_once(count, |own| tftp_client::download(own, SocketAddr::from((server, TFTP)), name, wishes))
    }

    /// The first `count` do `client` at once, each with its own address.
    pub(crate) fn at_once<T: Send>(
        &self,
        count: usize,
        client: impl Fn(Ipv4Addr) -> Result<T> + Sync,
    ) -> Vec<Result<T>> {
        let client = &client;
        thread::scope(|scope| {
            let start = |own: &Ipv4Addr| {
                let own = *own;
                scope.spawn(move || {
                    self.namespace.enter()?;
                    client(own)
                })
            };
            let threads: Vec<_> = self.addresses.iter().take(count).map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
        })
    }
}

/// Runs `work` on a thread in `namespace`.
pub(crate) fn in_namespace<T: Send>(namespace: &Namespace, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            namespace.enter()?;
            work()
        });
        thread.join().unwrap_or_else(|_| bail!("a client panicked"))
    })
}
