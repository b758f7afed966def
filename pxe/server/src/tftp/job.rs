//! One transfer, from the request to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use meadow_model::MacAddress;
use meadow_netboot::EventKind;
use meadow_netboot::event::Transport;
use meadow_netboot::tftp::{Ending, Output, ReadRequest};
use tokio::sync::mpsc::Receiver;

use crate::artifacts::Artifact;
use crate::segment::Segment;

use super::endpoint::Endpoint;
use super::offload::Offload;
use super::pause::Pause;
use super::session::Session;
use super::table::{Message, TransferStatus};

/// Longer datagrams of a client are cut: only errors have a text.
const MAX_DATAGRAM: usize = 600;

/// One transfer.
pub(super) struct Job {
    pub(super) segment: Arc<Segment>,
    pub(super) request: ReadRequest,
    pub(super) artifact: Arc<Artifact>,
    pub(super) client: SocketAddr,
    pub(super) endpoint: Endpoint,
    pub(super) offload: Arc<Offload>,
    pub(super) status: Arc<TransferStatus>,
}

impl Job {
    /// Runs it to its end and says how it ended.
    pub(super) async fn run(mut self, mut messages: Receiver<Message>) {
        let (now, size) = (self.segment.shared.now(), self.artifact.size);
        let (mut session, output) = Session::start(now, &self.request, size, self.status.clone());
        let mut mac = None;
        let ending = self.transfer(&mut session, output, &mut messages, &mut mac).await;
        let (transfer, counting) = (session.transfer(), &self.segment.shared.counting);
        counting.tftp_resent_windows.add(transfer.resent_windows());
        let event = match ending {
            Ok(ending @ (Ending::Complete | Ending::Unconfirmed)) => {
                counting.tftp_complete.add(1);
                counting.tftp_bytes.add(self.artifact.size);
                match ending {
                    Ending::Complete => EventKind::Sent { file: self.file(), percent: 100, via: Transport::Tftp },
                    _ => EventKind::Unconfirmed { file: self.file() },
                }
            }
            Ok(Ending::Probed) => return,
            Ok(Ending::ClientError(text)) => self.failed(format!("the machine broke off: {text}")),
            Ok(Ending::Slow(bytes)) => self.failed(format!(
                "the machine took {bytes} of {} bytes and hardly more in the last minute, so its place was given to others",
                self.artifact.size
            )),
            Ok(Ending::Silent(bytes)) => {
                self.failed(format!("the machine fell silent after {bytes} of {} bytes", self.artifact.size))
            }
            Err(error) => self.failed(error.to_string()),
        };
        if transfer.is_answered() {
            self.segment.shared.record_for(mac, self.client.ip(), event);
        } else {
            self.segment.record_unproved(self.client.ip(), event);
        }
    }

    fn file(&self) -> String {
        self.artifact.name.clone()
    }

    fn failed(&self, why: String) -> EventKind {
        self.segment.shared.counting.tftp_failed.add(1);
        EventKind::Failed { file: self.file(), why }
    }

    async fn transfer(
        &mut self,
        session: &mut Session,
        mut output: Output,
        messages: &mut Receiver<Message>,
        mac: &mut Option<MacAddress>,
    ) -> io::Result<Ending> {
        let mut pause = Pause::default();
        let (mut is_known, mut in_memory) = (false, 0..0);
        loop {
            match output {
                Output::Wait => {}
                Output::Packet(packet) => self.endpoint.send_packet(&packet).await?,
                Output::Blocks(window) => {
                    let part = window.offset..window.offset + window.length;
                    self.segment.shared.page_cache.bring_in(&self.artifact, &mut in_memory, part).await?;
                    self.endpoint.send_blocks(&self.artifact.file, window, &self.offload).await?;
                }
                Output::End(ending) => return Ok(ending),
            }
            output = self.next(session, messages, &mut pause).await?;
            if session.transfer().is_answered() && !is_known {
                is_known = true;
                *mac = self.on_answered();
            }
        }
    }

    /// What to do after the next datagram, or when there was none in time.
    async fn next(
        &self,
        session: &mut Session,
        messages: &mut Receiver<Message>,
        pause: &mut Pause,
    ) -> io::Result<Output> {
        let mut buffer = [0; MAX_DATAGRAM];
        let left = session.transfer().deadline().saturating_sub(self.segment.shared.now());
        let was_answered = session.transfer().is_answered();
        let message = tokio::select! {
            biased;
            message = self.endpoint.receive(messages, was_answered, &mut buffer) => Some(message),
            () = pause.wait(left) => None,
        };
        let now = self.segment.shared.now();
        match message {
            Some(Ok(message)) => Ok(session.on_message(now, &message)),
            // The client's port is closed: it has all, it rebooted, or it never sees our packets.
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let is_all_sent = session.transfer().is_all_sent();
                let broken = || Ending::ClientError("its port is closed".into());
                Ok(Output::End(if is_all_sent { Ending::Unconfirmed } else { broken() }))
            }
            Some(Err(error)) => Err(error),
            None => Ok(session.on_deadline(now)),
        }
    }

    /// The client is where it says it is. Only now is it worth looking up, and a mere question for the size is not
    /// taken for the file.
    fn on_answered(&self) -> Option<MacAddress> {
        self.segment.shared.counting.tftp_transfers.add(1);
        let mac = self.segment.mac_of(self.client.ip());
        if let Some(mac) = mac {
            self.segment.shared.engine().file_requested(self.segment.shared.now(), mac, &self.artifact.name);
        }
        let event = EventKind::Asked { file: self.file(), via: Transport::Tftp };
        self.segment.shared.record_for(mac, self.client.ip(), event);
        mac
    }
}
