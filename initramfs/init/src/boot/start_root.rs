//! The last steps: mounts, the report, the switch.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::{Boot, Setback};
use crate::dhcp::format_mac;
use crate::disks::{Partition, serial};
use crate::dropbear;
use crate::hardware::ROOT_MODULES;
use crate::network::Uplink;
use crate::root::{self, BootReport, Download, RootFrom, RootSpec, StateReport};
use crate::slot::Slot;
use crate::state;

/// Where the kernel has a TPM.
const TPM: &str = "/dev/tpmrm0";
/// The kind of its key slots, as `/sbin/unlock` tells it.
const OF_TPM: &str = "tpm2";
const GRACE: Duration = Duration::from_secs(1);

/// A verified root.
#[derive(Debug)]
pub(super) enum Root {
    /// In memory, fetched from there.
    Memory(Uplink),
    /// On a partition.
    Partition {
        /// Which of the two.
        slot: Slot,
        /// Where.
        partition: Partition,
    },
}

impl Boot {
    pub(super) fn start_root(&self, spec: &RootSpec, root: Root) -> Result<Infallible, Setback> {
        if let Some(hardware) = &self.hardware {
            ROOT_MODULES.iter().try_for_each(|name| hardware.loader.load(name))?;
        }
        self.let_go_of_tpm()?;
        match &root {
            Root::Memory(_) => {
                let image = self.download.as_ref().and_then(Download::verified);
                root::mount(image.context("there is no verified root image")?, spec)?;
            }
            Root::Partition { partition, .. } => root::mount_partition(&partition.path(), spec)?,
        }
        if self.state.is_some() {
            state::move_into_root()?;
        }
        self.log.milestone("switch-root", "");
        root::write_handover(&self.report(spec, &root), self.log.terminals(), &self.network.fixed())?;
        self.log.flush();
        self.children.end_all(GRACE);
        self.network.close();
        dropbear::forget_host_keys();
        Ok(root::switch_root()?)
    }

    /// A TPM that opened the state works, and can close too: until it does no root starts, which could ask it for the key.
    /// One that opened nothing keeps nobody's node from starting.
    fn let_go_of_tpm(&self) -> Result<(), Setback> {
        let closed = self.close_tpm();
        if state::opened().is_some_and(|opened| opened.kind == OF_TPM) {
            closed.context("the root does not start before the TPM is closed; if it stays so, switch this machine off and on again")?;
        } else {
            self.complain(closed);
        }
        Ok(())
    }

    /// The TPM gives nothing back any more, where there is one.
    pub(super) fn close_tpm(&self) -> anyhow::Result<()> {
        if !Path::new(TPM).exists() {
            return Ok(());
        }
        state::close_tpm(&self.children).context("the TPM does not let go of the state's key")
    }

    fn report(&self, spec: &RootSpec, root: &Root) -> BootReport {
        let report = BootReport {
            firmware: BootReport::firmware(),
            interface: String::new(),
            mac: None,
            base_url: String::new(),
            root_sha256: spec.sha256.clone(),
            root_from: RootFrom::Disk,
            slot: None,
            disk: None,
            stick: self.stick.is_some(),
            state: self.state.as_ref().map(|state| StateReport { serial: state.serial.clone() }),
            lost: self.lost.clone(),
            milestones: self.log.milestones(),
        };
        let card = self.network.first_card();
        let first_card = card.as_ref().map(|(name, _)| name.clone());
        match root {
            Root::Memory(uplink) => BootReport {
                interface: uplink.route.interface.clone().or(first_card).unwrap_or_default(),
                mac: Some(format_mac(uplink.mac, ":")),
                base_url: uplink.route.base.to_string(),
                root_from: RootFrom::Network,
                ..report
            },
            Root::Partition { slot, partition } => BootReport {
                interface: first_card.unwrap_or_default(),
                mac: card.map(|(_, mac)| format_mac(mac, ":")),
                slot: Some(*slot),
                disk: Some(serial(&partition.disk).unwrap_or_default()),
                ..report
            },
        }
    }
}
