//! Brings leases to the disk and sends their replies after that.

use std::net::Ipv4Addr;
use std::sync::{Arc, Weak};

use meadow_netboot::dhcp::{LeaseRecord, Transmit};
use tokio::sync::mpsc;

use crate::dhcp;
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
    /// Held while sending only: a port that is closed is to be free at once.
    socket: Weak<UdpPort>,
    waiting: mpsc::Receiver<Commit>,
}

impl LeaseWriter {
    pub(crate) fn new(shared: Arc<Shared>, socket: &Arc<UdpPort>, waiting: mpsc::Receiver<Commit>) -> Self {
        Self { shared, socket: Arc::downgrade(socket), waiting }
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
        let Some(full) = &shared.full else { return group.clear() };
        let records: Vec<_> = group.iter().map(|commit| commit.record.clone()).collect();
        if let Err(problem) = full.commit(shared.now(), &records) {
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
