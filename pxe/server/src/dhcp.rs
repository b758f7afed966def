//! DHCP on ports 67 and 4011.

use std::iter;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use meadow_netboot::dhcp::{LeaseOutcome, Outcome, Receive, ServerPort, Silence, Transmit};
use tokio::sync::mpsc;

use crate::lease_writer::{Commit, LeaseWriter};
use crate::restraint::Trouble;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::supervisor::PAUSE_AFTER_ERROR;
use crate::udp::UdpPort;

/// Larger than any request on Ethernet; what is longer is dropped.
const RECEIVE_BUFFER: usize = 2048;
/// Leases that wait for the disk. What comes beyond is dropped: clients ask again.
const WAITING: usize = 1024;

/// Answers one port until the task is aborted.
pub(crate) async fn serve(segment: Arc<Segment>, socket: UdpPort, port: ServerPort) {
    let socket = Arc::new(socket);
    let (commits, waiting) = mpsc::channel(WAITING);
    let full = segment.shared.full.as_ref().filter(|_| port == ServerPort::Dhcp);
    let Some(full) = full else { return receive(&segment, &socket, port, &commits).await };
    let writer = LeaseWriter::new(Arc::clone(&segment.shared), Arc::clone(full), &socket, waiting);
    // It ends when the channel does.
    let writer = tokio::task::spawn_blocking(move || writer.run());
    tokio::select! {
        () = receive(&segment, &socket, port, &commits) => {}
        // The supervisor is to see a panic, and starts both anew. Where the program stops, there is none.
        Err(ended) = writer => if let Ok(defect) = ended.try_into_panic() {
            std::panic::resume_unwind(defect);
        },
    }
}

async fn receive(segment: &Segment, socket: &UdpPort, port: ServerPort, commits: &mpsc::Sender<Commit>) {
    let shared = &segment.shared;
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        let received = match socket.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // The supervisor sees an interface that went away and binds anew.
                tracing::debug!(%error, ?port, "receiving DHCP failed");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        if received.is_cut {
            drop_oversized(shared, received.source, port);
            continue;
        }
        let from = *received.source.ip();
        let is_far = !from.is_unspecified() && !socket.link().has(from);
        let rx = Receive { port, address: received.local, source: received.source, is_far };
        let outcome = handle(segment, &rx, &buffer[..received.length]);
        shared.counting.count(&outcome);
        // The reply first: iPXE waits 2 s for it, a person reads the log later.
        let reply = outcome.reply.map(|reply| (reply, rx.address));
        match outcome.record {
            Some(record) => {
                if commits.try_send(Commit { record, reply }).is_err() {
                    shared.counting.dropped_disk_busy.add(1);
                    tracing::debug!("the disk is slower than the requests for leases; one is dropped");
                }
            }
            None => send(shared, socket, reply),
        }
        say_silence(shared, &rx, outcome.silence);
        if shared.may_tell(&outcome.notes) {
            for note in outcome.notes {
                segment.record(note);
            }
        }
    }
}

/// Counts a datagram that nobody could mean as DHCP. What is there of it may well parse, and say something else than the
/// whole.
fn drop_oversized(shared: &Shared, source: SocketAddrV4, port: ServerPort) {
    shared.counting.dhcp_packets.add(1);
    shared.counting.dropped_too_large.add(1);
    shared.complain(Trouble::Oversized, Some((*source.ip()).into()), || {
        format!(
            "{source} sent more than {RECEIVE_BUFFER} bytes at once to port {}, which no DHCP client does",
            port.number()
        )
    });
}

/// Says what nobody sends by habit.
fn say_silence(shared: &Shared, rx: &Receive, silence: Option<Silence>) {
    let address = Some((*rx.source.ip()).into());
    match silence {
        Some(Silence::Malformed) => shared.complain(Trouble::Dhcp, address, || {
            format!("{} sent what is no DHCP message to port {}", rx.source, rx.port.number())
        }),
        Some(Silence::TooMany) => shared.complain(Trouble::Relays, address, || {
            format!("more requests come by relays than are answered, the last from {}; are they real?", rx.source.ip())
        }),
        _ => {}
    }
}

fn handle(segment: &Segment, rx: &Receive, bytes: &[u8]) -> LeaseOutcome {
    let shared = &*segment.shared;
    if shared.own_cards.sent(bytes) {
        return LeaseOutcome { silence: Some(Silence::NotForUs), ..LeaseOutcome::default() };
    }
    match &shared.full {
        Some(full) if rx.port == ServerPort::Dhcp && segment.gives_leases(rx.address) => {
            full.server().handle(shared.now(), rx, bytes, &mut shared.engine(), shared)
        }
        _ => {
            let outcome = shared.engine().handle(shared.now(), rx, bytes, shared);
            let Outcome { reply, silence, notes } = outcome;
            LeaseOutcome { reply, silence, notes, ..LeaseOutcome::default() }
        }
    }
}

/// Sends a reply, and says once in a while that it could not be sent.
pub(crate) fn send(shared: &Shared, socket: &UdpPort, reply: Option<(Transmit, Ipv4Addr)>) {
    let Some((reply, local)) = reply else { return };
    let mut payloads = iter::once(&reply.payload).chain(&reply.also);
    if let Err(error) = payloads.try_for_each(|payload| socket.send(payload, local, reply.destination)) {
        shared.counting.replies_unsent.add(1);
        let interface = &socket.link().name;
        shared.complain(Trouble::Unsent, Some((*reply.destination.ip()).into()), || {
            format!("the reply to {} could not be sent on {interface}: {error}", reply.destination)
        });
    }
}
