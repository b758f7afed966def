//! Finds out, ahead of time, which addresses of the pool somebody uses without a lease: an offer waits for nothing.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::interface::Link;
use crate::neighbours;
use crate::segment::Segment;
use crate::udp;

/// Pause between rounds.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the kernel may ask: a neighbour that it knew before is doubted for 5 s, and asked up to six times after that.
const ANSWER: Duration = Duration::from_secs(12);
/// Discard (RFC 863): any packet makes the kernel ask who has the address.
const PORT: u16 = 9;

/// Probes until the task is aborted.
pub(crate) async fn serve(segment: Arc<Segment>, link: Link) {
    let shared = &segment.shared;
    let Some(full) = &shared.full else { return };
    loop {
        tokio::time::sleep(PAUSE).await;
        if !segment.gives_leases(link.address) {
            continue;
        }
        let addresses = full.server().to_probe(shared.now(), link.address);
        if addresses.is_empty() {
            continue;
        }
        for address in &addresses {
            // Nobody there is an error, and the usual one.
            let _ = ask(&link, *address).await;
        }
        tokio::time::sleep(ANSWER).await;
        let mut records = Vec::new();
        for address in addresses {
            let user = neighbours::mac_of(address.into(), &link.name);
            let record = full.server().found(shared.now(), address, user);
            if let (Some(record), Some(mac)) = (record, user) {
                if record.client.is_some() {
                    tracing::debug!(%mac, %address, "its lease has ended and it goes on: kept for it");
                    records.push(record);
                    continue;
                }
                let what = format!(
                    "{mac} uses {address}, which is in the pool and was not given to it; it is set aside: give that \
                     device an address outside the pool, or a reservation"
                );
                shared.record_for(Some(mac), address.into(), meadow_netboot::EventKind::Conflict { what });
                records.push(record);
            }
        }
        if !records.is_empty() {
            let (full, now, writes) = (full.clone(), shared.now(), full.writes());
            let commit = move || {
                let committed = full.commit(now, &records);
                drop(writes);
                committed
            };
            // A disk that takes nothing is said by the next lease, and the addresses are set aside all the same.
            let _ = tokio::task::spawn_blocking(commit).await;
        }
    }
}

async fn ask(link: &Link, address: Ipv4Addr) -> std::io::Result<()> {
    let socket = udp::connected(link, link.address, SocketAddrV4::new(address, PORT))?;
    socket.send(&[0]).await.map(|_| ())
}
