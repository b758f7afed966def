//! TFTP: requests on port 69, each transfer on a port of its own, or all on port 69.
//!
//! In single-port mode a forged address can also forge acknowledgements, since the port is known: whoever can send
//! packets in another's name then makes this server send windows to it. That is why each transfer has its own port
//! unless a firewall or a container needs one.

mod endpoint;
mod job;
mod offload;
mod pause;
mod table;

use std::net::SocketAddrV4;
use std::sync::Arc;

use meadow_netboot::EventKind;
use meadow_netboot::tftp::{ErrorCode, ReadRequest, error_packet};
use tokio::task::JoinSet;

use crate::artifacts::{Artifact, Lookup};
use crate::interface::Link;
use crate::shared::Shared;
use crate::supervisor::PAUSE_AFTER_ERROR;
use crate::udp::{Received, UdpPort};

use endpoint::Endpoint;
use job::Job;
use offload::Offload;
use table::{Message, Table, Verdict};

/// iPXE looks for a script of this name beside itself, and goes on by DHCP where there is none.
const OPTIONAL_SCRIPT: &str = "autoexec.ipxe";

/// Answers requests until the task is aborted, which ends all transfers too.
pub(crate) async fn serve(shared: Arc<Shared>, socket: UdpPort, link: Link) {
    let offload = Arc::new(Offload::probe());
    let mut server =
        Server { shared, socket: Arc::new(socket), link, offload, table: Table::default(), transfers: JoinSet::new() };
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            Some(ended) = server.transfers.join_next_with_id(), if !server.transfers.is_empty() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                server.table.remove(id);
            }
            received = server.socket.receive(&mut buffer) => match received {
                Ok(received) => server.take(received, &buffer[..received.length]).await,
                Err(error) => {
                    tracing::debug!(%error, "receiving TFTP failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            },
        }
    }
}

struct Server {
    shared: Arc<Shared>,
    socket: Arc<UdpPort>,
    link: Link,
    offload: Arc<Offload>,
    table: Table,
    transfers: JoinSet<()>,
}

impl Server {
    /// Takes a datagram that came to port 69.
    async fn take(&mut self, received: Received, datagram: &[u8]) {
        let client = received.source;
        let counting = &self.shared.counting;
        match self.table.verdict(client, datagram) {
            Verdict::Pass(mailbox, message) => {
                // A full mailbox loses it, as a full socket would.
                let _ = mailbox.try_send(message);
                return;
            }
            Verdict::New => counting.tftp_requests.add(1),
        }
        match self.prepare(datagram, client) {
            Ok((request, artifact)) => self.begin(request, artifact, &received),
            Err(Some(packet)) => {
                counting.tftp_refused.add(1);
                if let Err(error) = self.socket.send(&packet, received.local, client).await {
                    tracing::debug!(%error, %client, "sending a TFTP error failed");
                }
            }
            Err(None) => {}
        }
    }

    /// Begins a transfer, if there is room.
    fn begin(&mut self, request: ReadRequest, artifact: Arc<Artifact>, received: &Received) {
        let client = received.source;
        let Some((status, messages, evicted)) = self.table.make_room(client) else {
            self.shared.counting.tftp_dropped.add(1);
            let why = "too many TFTP transfers at once, its request was dropped; it asks again".to_owned();
            self.shared.record_unproved((*client.ip()).into(), EventKind::Failed { file: request.name, why });
            return;
        };
        self.shared.counting.tftp_evicted.add(evicted);
        let endpoint = if self.shared.config.tftp_single_port {
            Endpoint::shared(self.socket.clone(), received.local, client)
        } else {
            match Endpoint::own(&self.link, received.local, client) {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    self.table.forget(client);
                    self.shared.counting.tftp_dropped.add(1);
                    let why = format!("no port for its transfer: {error}");
                    self.shared.record_unproved((*client.ip()).into(), EventKind::Failed { file: request.name, why });
                    return;
                }
            }
        };
        let offload = self.offload.clone();
        let job = Job { shared: self.shared.clone(), request, artifact, client, endpoint, offload, status };
        self.table.insert(client, self.transfers.spawn(job.run(messages)));
    }

    /// Reads a request and finds its file; the error is the packet to answer with, if any.
    fn prepare(&self, datagram: &[u8], client: SocketAddrV4) -> Result<(ReadRequest, Arc<Artifact>), Option<Vec<u8>>> {
        let request = ReadRequest::parse(datagram).map_err(|error| error.packet())?;
        // Boot ROMs that know a bare file name only.
        let artifact = match self.shared.artifacts.lookup(&request.name) {
            Lookup::Unknown => self.shared.artifacts.lookup(&format!("ipxe/{}", request.name)),
            found => found,
        };
        let why = match artifact {
            Lookup::Ready(artifact) => return Ok((request, artifact)),
            Lookup::Unknown => "there is no such boot file".to_owned(),
            Lookup::Unavailable(why) => why,
        };
        let packet = error_packet(ErrorCode::NotFound, &why);
        if request.name != OPTIONAL_SCRIPT {
            self.shared.record_unproved((*client.ip()).into(), EventKind::Failed { file: request.name, why });
        }
        Err(Some(packet))
    }
}

impl From<Vec<u8>> for Message {
    fn from(datagram: Vec<u8>) -> Self {
        Self::Datagram(datagram)
    }
}
