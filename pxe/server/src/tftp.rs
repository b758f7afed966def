//! TFTP: requests on port 69, each transfer on a port of its own, or all on port 69.
//!
//! In single-port mode a forged address can also forge acknowledgements, since the port is known: whoever can send
//! packets in another's name then makes this server send windows to it. That is why each transfer has its own port
//! unless a firewall or a container needs one.

mod endpoint;
mod job;
mod offload;
mod pause;
mod session;
mod table;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use meadow_netboot::EventKind;
use meadow_netboot::tftp::{ErrorCode, ReadRequest, RequestedOptions, error_packet};
use tokio::task::JoinSet;

use crate::artifacts::{Artifact, Lookup};
use crate::interface::Link;
use crate::restraint::Trouble;
use crate::segment::Segment;
use crate::supervisor::PAUSE_AFTER_ERROR;
use crate::udp::{Received, UdpPort};

use endpoint::Endpoint;
use job::Job;
use offload::Offload;
use table::{Client, Message, Port, READ_REQUEST};

pub(crate) use table::Table;

/// iPXE looks for a script of this name beside itself, and goes on by DHCP where there is none.
pub(crate) const OPTIONAL_SCRIPT: &str = "autoexec.ipxe";

/// Answers requests until the task is aborted, which ends all transfers too.
pub(crate) async fn serve(segment: Arc<Segment>, socket: UdpPort, link: Link) {
    let offload = Arc::new(Offload::probe());
    let port = segment.shared.transfers().open();
    let mut server = Server { segment, socket: Arc::new(socket), link, offload, port, transfers: JoinSet::new() };
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            Some(ended) = server.transfers.join_next_with_id(), if !server.transfers.is_empty() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                server.segment.shared.transfers().remove(id);
            }
            received = server.socket.receive(&mut buffer) => match received {
                Ok(received) => server.take(received, &buffer[..received.length]),
                Err(error) => {
                    tracing::debug!(%error, "receiving TFTP failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            },
        }
    }
}

struct Server {
    segment: Arc<Segment>,
    socket: Arc<UdpPort>,
    link: Link,
    offload: Arc<Offload>,
    port: Port,
    transfers: JoinSet<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.segment.shared.transfers().close(self.port);
    }
}

impl Server {
    /// Takes a datagram that came to port 69.
    fn take(&mut self, received: Received, datagram: &[u8]) {
        let client = received.source;
        if datagram.starts_with(READ_REQUEST) && !self.may_answer(datagram, *client.ip()) {
            return;
        }
        if self.segment.shared.transfers().pass(self.of(client), datagram) {
            return;
        }
        let counting = &self.segment.shared.counting;
        counting.tftp_requests.add(1);
        match self.prepare(datagram, client) {
            Ok((request, artifact)) => self.begin(request, artifact, &received),
            Err(Some(packet)) => {
                counting.tftp_refused.add(1);
                if let Err(error) = self.socket.send(&packet, received.local, client) {
                    counting.replies_unsent.add(1);
                    tracing::debug!(%error, %client, "sending a TFTP error failed");
                }
            }
            Err(None) => counting.tftp_malformed.add(1),
        }
    }

    /// Whether a request is answered for its source's sake: who asks for no options gets 516 bytes for some thirty, and
    /// who is off the link may be anybody.
    fn may_answer(&self, datagram: &[u8], source: Ipv4Addr) -> bool {
        let is_plain =
            || ReadRequest::parse(datagram).is_ok_and(|request| request.options == RequestedOptions::default());
        let is_far = !self.link.has(source);
        !(is_far || is_plain()) || self.segment.shared.may_answer(source, is_far)
    }

    fn of(&self, address: SocketAddrV4) -> Client {
        Client { port: self.port, address: address.into() }
    }

    /// Begins a transfer, if there is room.
    fn begin(&mut self, request: ReadRequest, artifact: Arc<Artifact>, received: &Received) {
        let client = received.source;
        let shared = &self.segment.shared;
        let room = shared.transfers().make_room(self.of(client));
        let Some((status, messages, evicted)) = room else {
            shared.counting.tftp_dropped.add(1);
            let why = "too many TFTP transfers at once, its request was dropped; it asks again".to_owned();
            self.segment.record_unproved((*client.ip()).into(), EventKind::Failed { file: request.name, why });
            return;
        };
        shared.counting.tftp_evicted.add(evicted);
        let endpoint = if shared.config.tftp_single_port {
            Endpoint::shared(self.socket.clone(), received.local, client)
        } else {
            match Endpoint::own(&self.link, received.local, client) {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    shared.transfers().forget(self.of(client));
                    shared.counting.tftp_dropped.add(1);
                    let why = format!("no port for its transfer: {error}");
                    self.segment.record_unproved((*client.ip()).into(), EventKind::Failed { file: request.name, why });
                    return;
                }
            }
        };
        let offload = self.offload.clone();
        let segment = self.segment.clone();
        let job = Job { segment, request, artifact, client: client.into(), endpoint, offload, status };
        let task = self.transfers.spawn(job.run(messages));
        shared.transfers().insert(self.of(client), task);
    }

    /// Reads a request and finds its file; the error is the packet to answer with, if any.
    fn prepare(&self, datagram: &[u8], client: SocketAddrV4) -> Result<(ReadRequest, Arc<Artifact>), Option<Vec<u8>>> {
        let request = ReadRequest::parse(datagram).map_err(|error| {
            let shared = &self.segment.shared;
            shared
                .complain(Trouble::Tftp, Some((*client.ip()).into()), || format!("over TFTP, {client} sent: {error}"));
            error.packet()
        })?;
        // Boot ROMs that know a bare file name only.
        let artifact = match self.segment.shared.artifacts.lookup(&request.name) {
            Lookup::Unknown => self.segment.shared.artifacts.lookup(&format!("ipxe/{}", request.name)),
            found => found,
        };
        let why = match artifact {
            Lookup::Ready(artifact) => return Ok((request, artifact)),
            Lookup::Unknown => "there is no such boot file".to_owned(),
            Lookup::Unavailable(why) => why,
        };
        let packet = error_packet(ErrorCode::NotFound, &why);
        if request.name != OPTIONAL_SCRIPT {
            self.segment.record_unproved((*client.ip()).into(), EventKind::Failed { file: request.name, why });
        }
        Err(Some(packet))
    }
}

impl From<Vec<u8>> for Message {
    fn from(datagram: Vec<u8>) -> Self {
        Self::Datagram(datagram)
    }
}
