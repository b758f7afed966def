//! The DNS servers of the image's `/etc/resolv.conf`, which points to a file of ours: those that systemd-networkd was told,
//! by DHCP or by the settings of a card. The image has no resolver of its own.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use meadow_host::files::{self, Access};
use tracing::warn;

/// What systemd-networkd knows of all links together, as lines `NAME=VALUE`.
const KNOWN: &str = "/run/systemd/netif/state";
const LONGEST: u64 = 64 << 10;
/// A resolver asks no more (`MAXNS` of resolv.conf(5)).
const MOST: usize = 3;
const PERIOD: Duration = Duration::from_secs(3);

/// Keeps `file` as systemd-networkd knows it, for ever.
pub async fn keep(file: &Path) {
    let mut written = None;
    loop {
        let wanted = files::read(Path::new(KNOWN), LONGEST).map(|bytes| text(&bytes)).unwrap_or_default();
        if written.as_ref() != Some(&wanted) {
            match files::replace(file, wanted.as_bytes(), Access::Public) {
                Ok(()) => written = Some(wanted),
                Err(error) => warn!("names cannot be resolved: {error}"),
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn text(known: &[u8]) -> String {
    let known = String::from_utf8_lossy(known);
    let servers = known.lines().find_map(|line| line.strip_prefix("DNS=")).unwrap_or_default();
    // A server may come with a port, an interface or a name, which only systemd's own resolver understands.
    let addresses = servers.split_whitespace().filter_map(|server| server.parse::<IpAddr>().ok());
    addresses.take(MOST).map(|address| format!("nameserver {address}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn servers_are_taken_as_networkd_tells_them() {
        let state =
            b"# This is private data.\nOPER_STATE=routable\nDNS=192.0.2.53 2001:db8::53 192.0.2.54#x 1.1.1.1 8.8.8.8\n";
        assert_eq!(text(state), "nameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver 1.1.1.1\n");
        assert_eq!(text(b""), "");
    }
}
