//! A transfer, and what the table of transfers is told of it.

use std::sync::Arc;
use std::time::Duration;

use meadow_netboot::tftp::{Output, ReadRequest, Transfer};

use super::table::{Message, TransferStatus};

/// A transfer in the table.
#[derive(Debug)]
pub(super) struct Session {
    transfer: Transfer,
    status: Arc<TransferStatus>,
}

impl Session {
    /// Begins a transfer of a file of `size` bytes.
    pub(super) fn start(
        now: Duration,
        request: &ReadRequest,
        size: u64,
        status: Arc<TransferStatus>,
    ) -> (Self, Output) {
        let (transfer, output) = Transfer::start(now, request, size);
        (Self { transfer, status }, output)
    }

    /// How far it is.
    pub(super) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// The client has sent something.
    pub(super) fn on_message(&mut self, now: Duration, message: &Message) -> Output {
        let Message::Datagram(bytes) = message else { return self.transfer.on_request_again(now) };
        let output = self.transfer.on_datagram(now, bytes);
        if self.transfer.is_answered() {
            self.status.answered();
        }
        output
    }

    /// The transfer's deadline has passed.
    pub(super) fn on_deadline(&mut self, now: Duration) -> Output {
        let resent = self.transfer.resent_windows();
        let output = self.transfer.on_deadline(now);
        if self.transfer.resent_windows() > resent {
            self.status.silent();
        }
        output
    }
}
