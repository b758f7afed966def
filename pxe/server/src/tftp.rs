//! TFTP: requests on port 69, each transfer on a port of its own.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use meadow_model::MacAddress;
use meadow_netboot::EventKind;
use meadow_netboot::event::Transport;
use meadow_netboot::tftp::{Ending, ErrorCode, Output, ReadRequest, Transfer, Window, data_header, error_packet};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::artifacts::{Artifact, Lookup};
use crate::interface::Link;
use crate::shared::Shared;
use crate::supervisor::PAUSE_AFTER_ERROR;
use crate::udp::{self, UdpPort};

/// Transfers at once. Further requests are dropped: a client repeats its request after a second.
const MAX_TRANSFERS: usize = 256;

/// iPXE looks for a script of this name beside itself, and goes on by DHCP where there is none.
const OPTIONAL_SCRIPT: &str = "autoexec.ipxe";

/// Answers requests until the task is aborted, which ends all transfers too.
pub(crate) async fn serve(shared: Arc<Shared>, socket: UdpPort, link: Link) {
    let mut buffer = [0; 1024];
    let mut transfers = JoinSet::new();
    let mut clients = HashSet::new();
    loop {
        let received = tokio::select! {
            Some(ended) = transfers.join_next(), if !transfers.is_empty() => {
                if let Ok(client) = ended {
                    clients.remove(&client);
                }
                continue;
            }
            received = socket.receive(&mut buffer) => received,
        };
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "receiving TFTP failed");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let client = received.source;
        // A request repeated from the same port is answered by its transfer's own retries.
        if clients.contains(&client) {
            continue;
        }
        match prepare(&shared, &buffer[..received.length], client) {
            Ok(_) if clients.len() >= MAX_TRANSFERS => {
                tracing::warn!(%client, "more than {MAX_TRANSFERS} TFTP transfers at once, request dropped");
            }
            Ok((request, artifact)) => {
                clients.insert(client);
                let job = Job { shared: shared.clone(), request, artifact, client, local: received.local };
                transfers.spawn(job.run(link.clone()));
            }
            Err(Some(packet)) => {
                if let Err(error) = socket.send(&packet, received.local, client).await {
                    tracing::debug!(%error, %client, "sending a TFTP error failed");
                }
            }
            Err(None) => {}
        }
    }
}

/// Reads a request and finds its file; the error is the packet to answer with, if any.
fn prepare(
    shared: &Shared,
    datagram: &[u8],
    client: SocketAddrV4,
) -> Result<(ReadRequest, Arc<Artifact>), Option<Vec<u8>>> {
    let request = ReadRequest::parse(datagram).map_err(|error| error.packet())?;
    // Boot ROMs that know a bare file name only.
    let artifact = match shared.artifacts.lookup(&request.name) {
        Lookup::Unknown => shared.artifacts.lookup(&format!("ipxe/{}", request.name)),
        found => found,
    };
    let why = match artifact {
        Lookup::Ready(artifact) => return Ok((request, artifact)),
        Lookup::Unknown => "there is no such boot file".to_owned(),
        Lookup::Unavailable(why) => why,
    };
    let packet = error_packet(ErrorCode::NotFound, &why);
    if request.name != OPTIONAL_SCRIPT {
        let mac = shared.mac_of(*client.ip());
        shared.record_for(mac, *client.ip(), EventKind::Failed { file: request.name, why });
    }
    Err(Some(packet))
}

/// One transfer.
struct Job {
    shared: Arc<Shared>,
    request: ReadRequest,
    artifact: Arc<Artifact>,
    client: SocketAddrV4,
    local: Ipv4Addr,
}

impl Job {
    async fn run(self, link: Link) -> SocketAddrV4 {
        let mac = self.shared.mac_of(*self.client.ip());
        if let Some(mac) = mac {
            self.shared.engine().file_requested(self.shared.now(), mac, &self.artifact.name);
        }
        let event = match self.transfer(&link, mac).await {
            Ok(Ending::Complete) => Some(EventKind::Sent { file: self.file(), percent: 100, via: Transport::Tftp }),
            Ok(Ending::Probed) => None,
            Ok(Ending::ClientError(text)) => Some(self.failed(format!("the machine broke off: {text}"))),
            Ok(Ending::Silent(bytes)) => {
                let text = format!("the machine fell silent after {bytes} of {} bytes", self.artifact.size);
                Some(self.failed(text))
            }
            Err(error) => Some(self.failed(error.to_string())),
        };
        if let Some(event) = event {
            self.shared.record_for(mac, *self.client.ip(), event);
        }
        self.client
    }

    fn file(&self) -> String {
        self.artifact.name.clone()
    }

    fn failed(&self, why: String) -> EventKind {
        EventKind::Failed { file: self.file(), why }
    }

    async fn transfer(&self, link: &Link, mac: Option<MacAddress>) -> std::io::Result<Ending> {
        let socket = udp::connected(link, self.local, self.client)?;
        let (mut transfer, mut output) = Transfer::start(self.shared.now(), &self.request, self.artifact.size);
        let mut sender = BlockSender::default();
        let mut buffer = [0; 600];
        let mut asked = false;
        loop {
            match output {
                Output::Wait => {}
                Output::Packet(packet) => send(&socket, &packet).await?,
                Output::Blocks(window) => {
                    // Said here, so that a mere question for the size is not taken for the file.
                    if !asked {
                        asked = true;
                        let event = EventKind::Asked { file: self.file(), via: Transport::Tftp };
                        self.shared.record_for(mac, *self.client.ip(), event);
                    }
                    sender.send(&socket, &self.artifact, window).await?;
                }
                Output::End(ending) => return Ok(ending),
            }
            let left = transfer.deadline().saturating_sub(self.shared.now());
            output = match tokio::time::timeout(left, socket.recv(&mut buffer)).await {
                Ok(Ok(length)) => transfer.on_datagram(self.shared.now(), &buffer[..length]),
                // The client's port is closed: it rebooted, or never sees our packets.
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    Output::End(Ending::ClientError("its port is closed".into()))
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => transfer.on_deadline(self.shared.now()),
            };
        }
    }
}

async fn send(socket: &UdpSocket, packet: &[u8]) -> std::io::Result<()> {
    match socket.send(packet).await {
        // Refers to an earlier packet; the next receive tells.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Blocks that are read from the file at once: all of a usual window, and 200 transfers still take
/// less than 5 MB.
const BLOCKS_AT_ONCE: u16 = 16;

/// Reads blocks from the file and sends them. Keeps its buffers for the whole transfer.
#[derive(Default)]
struct BlockSender {
    data: Vec<u8>,
    packet: Vec<u8>,
}

impl BlockSender {
    async fn send(&mut self, socket: &UdpSocket, artifact: &Artifact, window: Window) -> std::io::Result<()> {
        let block_size = usize::from(window.block_size);
        let (mut offset, end) = (window.offset, window.offset + window.length);
        for first in (0..window.blocks).step_by(usize::from(BLOCKS_AT_ONCE)) {
            let blocks = (window.blocks - first).min(BLOCKS_AT_ONCE);
            let length = (u64::from(blocks) * u64::from(window.block_size)).min(end - offset);
            // At most 16 blocks of 1468 bytes.
            self.data.resize(length as usize, 0);
            artifact.file.read_exact_at(&mut self.data, offset)?;
            offset += length;
            let mut rest = self.data.as_slice();
            for index in first..first + blocks {
                let (block, tail) = rest.split_at(rest.len().min(block_size));
                rest = tail;
                self.packet.clear();
                self.packet.extend_from_slice(&data_header(window.first_block.wrapping_add(index)));
                self.packet.extend_from_slice(block);
                send(socket, &self.packet).await?;
            }
        }
        Ok(())
    }
}
