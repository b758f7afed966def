//! Brings leases to the disk and sends their replies after that.

use std::net::Ipv4Addr;
use std::sync::{Arc, Weak};

use meadow_netboot::dhcp::{LeaseRecord, Transmit};
use tokio::sync::{mpsc, watch};

use crate::dhcp;
use crate::full_dhcp::FullDhcp;
use crate::restraint::Trouble;
use crate::shared::Shared;
use crate::udp::UdpPort;

/// Leases that one write takes at most.
const GROUP: usize = 256;

/// A change that must be on disk before its reply is sent.
pub(crate) struct Commit {
    pub(crate) record: LeaseRecord,
    pub(crate) reply: Option<(Transmit, Ipv4Addr)>,
}

/// The thread that waits for the disk, so that requests need not: each sync takes all leases that came during the one
/// before.
pub(crate) struct LeaseWriter {
    shared: Arc<Shared>,
    full: Arc<FullDhcp>,
    /// Held while sending only: a port that is closed is to be free at once.
    socket: Weak<UdpPort>,
    waiting: mpsc::Receiver<Commit>,
    /// Who stops the server waits for what is written here.
    _writes: watch::Receiver<()>,
}

impl LeaseWriter {
    pub(crate) fn new(
        shared: Arc<Shared>,
        full: Arc<FullDhcp>,
        socket: &Arc<UdpPort>,
        waiting: mpsc::Receiver<Commit>,
    ) -> Self {
        let writes = full.writes();
        Self { shared, full, socket: Arc::downgrade(socket), waiting, _writes: writes }
    }

    /// Blocks until nobody can send it leases any more.
    pub(crate) fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while self.waiting.blocking_recv_many(&mut group, GROUP) > 0 {
            self.write(&mut group);
        }
    }

    /// Leaves the group empty.
    fn write(&self, group: &mut Vec<Commit>) {
        let shared = &self.shared;
        let records: Vec<_> = group.iter().map(|commit| commit.record.clone()).collect();
        if let Err(problem) = self.full.commit(shared.now(), &records) {
            // Without the disk nobody gets an answer.
            group.clear();
            shared.complain(Trouble::Disk, None, || problem.text);
            return;
        }
        let Some(socket) = self.socket.upgrade() else { return group.clear() };
        for commit in group.drain(..) {
            dhcp::send(shared, &socket, commit.reply);
        }
    }
}
