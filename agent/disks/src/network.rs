//! Network cards: settings are tried, and go back by themselves unless somebody confirms them.
//!
//! A timer of systemd brings the old ones back, so neither the agent nor this helper has to live for it. All that a trial
//! consists of lies in memory: a restart takes it back too. What was confirmed goes into the node's record, which the
//! initramfs sets the cards by.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use meadow_host::files::{self, Access};
use meadow_model::install::{DiskRequest, TryNetwork};
use meadow_model::network::{CardNetwork, KnownNetwork, NetworkTrial, TRIAL_SECONDS};
use meadow_model::preboot::Preboot;
use meadow_plan::network::{self as plan, Kept};

use crate::DiskError;
use crate::area::read_file;
use crate::machine::Machine;
use crate::own_disk::{self, OwnDisk};

/// No state of ours is longer.
const LONGEST: u64 = 1 << 20;
/// Settings in one request.
const MOST: usize = 64;

/// What the settings need of the computer; a test hands in one made of a folder.
pub trait NetworkHost {
    /// Where systemd-networkd reads files that go with the start.
    fn folder(&self) -> PathBuf;

    /// The state of the settings, in memory.
    fn state(&self) -> PathBuf;

    /// Lets only one process change settings at a time, as long as what it gives lives.
    ///
    /// # Errors
    /// [`DiskError::Io`]
    fn lock(&self) -> Result<Box<dyn std::any::Any>, DiskError>;

    /// Milliseconds since the kernel started.
    fn uptime_ms(&self) -> u64;

    /// Starts the timer that takes a trial back, or stops it.
    ///
    /// # Errors
    /// [`DiskError::Program`]
    fn arm(&self, armed: bool) -> Result<(), DiskError>;

    /// Lets systemd-networkd read its files again.
    ///
    /// # Errors
    /// [`DiskError::Program`]
    fn reload(&self) -> Result<(), DiskError>;
}

/// Carries out a request about the network; `None` where it is about something else.
pub(crate) fn carry_out(
    machine: &dyn Machine,
    host: &dyn NetworkHost,
    request: &DiskRequest,
) -> Option<Result<KnownNetwork, DiskError>> {
    let done = match request {
        DiskRequest::LookAtNetwork => Ok(()),
        DiskRequest::TryNetwork(work) => begin(machine, host, work),
        DiskRequest::ConfirmNetwork => confirm(machine, host),
        DiskRequest::NetworkBack => end(machine, host),
        _ => return None,
    };
    Some(done.and_then(|()| look(machine, host)))
}

/// Whether a confirmed trial only has to be written down, which needs the disk.
pub(crate) fn is_keeping(host: &dyn NetworkHost) -> Result<bool, DiskError> {
    Ok(load(host)?.is_some_and(|kept| kept.is_keeping()))
}

fn look(machine: &dyn Machine, host: &dyn NetworkHost) -> Result<KnownNetwork, DiskError> {
    let own = booted_disk(machine)?;
    let state = load(host)?;
    let recorded = || own.as_ref().map(|own| own.record.network.clone());
    let trial = state.as_ref().and_then(|state| state.trial.clone()).map(|trial| NetworkTrial {
        networks: trial.networks,
        left_s: trial.ends_ms.saturating_sub(host.uptime_ms()).div_ceil(1000),
    });
    let kept = state.map(|state| state.networks.iter().map(CardNetwork::record).collect());
    Ok(KnownNetwork { kept: kept.or_else(recorded), trial, lasts: own.is_some() })
}

fn begin(machine: &dyn Machine, host: &dyn NetworkHost, work: &TryNetwork) -> Result<(), DiskError> {
    if work.networks.is_empty() || work.networks.len() > MOST || !work.networks.iter().all(|n| is_name(&n.card.name)) {
        return Err(DiskError::refused("these are no network settings; do the versions fit together?"));
    }
    let _alone = host.lock()?;
    let state = match load(host)? {
        Some(state) => state,
        None => {
            let start = booted_disk(machine)?.map_or_else(|| work.start.clone(), |own| own.record.network);
            Kept { networks: CardNetwork::of_records(&start, &work.cards), trial: None }
        }
    };
    let ends = host.uptime_ms() + TRIAL_SECONDS * 1000;
    let state = state.trying(&work.networks, ends).map_err(|why| DiskError::refused(why.to_string()))?;
    // From here on the way back is certain, wherever this process ends.
    host.arm(true)?;
    save(host, &state)?;
    bring(host, &state)
}

fn confirm(machine: &dyn Machine, host: &dyn NetworkHost) -> Result<(), DiskError> {
    let _alone = host.lock()?;
    let nothing = |why: plan::NotNow| DiskError::refused(why.to_string());
    let state = load(host)?.unwrap_or_default().keeping().map_err(nothing)?;
    save(host, &state)?;
    finish(machine, host, &state)
}

/// Brings a trial to its end: the old settings, or the confirmed ones where a process was ended before they were written.
fn end(machine: &dyn Machine, host: &dyn NetworkHost) -> Result<(), DiskError> {
    let _alone = host.lock()?;
    let Some(state) = load(host)?.filter(|state| state.trial.is_some()) else { return Ok(()) };
    if state.is_keeping() {
        return finish(machine, host, &state);
    }
    let state = state.ended();
    // The files first: killed here, the next attempt finds the trial and does the same again.
    bring(host, &state)?;
    save(host, &state)?;
    host.arm(false)
}

fn finish(machine: &dyn Machine, host: &dyn NetworkHost, state: &Kept) -> Result<(), DiskError> {
    if let Some(own) = booted_disk(machine)? {
        let network = state.in_force().iter().map(CardNetwork::record).collect();
        own.write_record(machine, &Preboot { network, ..own.record.clone() })?;
    }
    save(host, &state.ended())?;
    host.arm(false)
}

/// The disk whose record set the cards at this start; a computer that booted over the network asked DHCP.
fn booted_disk(machine: &dyn Machine) -> Result<Option<OwnDisk>, DiskError> {
    if machine.boot_report().is_none_or(|report| report.slot.is_none() || report.stick) {
        return Ok(None);
    }
    Ok(own_disk::find(machine)?.filter(|own| own.running(machine).is_some()))
}

/// Puts the files into place and lets systemd-networkd read them.
fn bring(host: &dyn NetworkHost, state: &Kept) -> Result<(), DiskError> {
    let folder = host.folder();
    let unlistable = DiskError::io("list", &folder);
    let mut present = BTreeSet::new();
    for entry in fs::read_dir(&folder).map_err(&unlistable)? {
        let name = entry.map_err(&unlistable)?.file_name();
        present.extend(name.into_string().ok().filter(|name| name.starts_with(plan::PREFIX)));
    }
    let files = plan::files(state.in_force(), &present);
    for (name, text) in &files.write {
        let path = folder.join(name);
        files::replace(&path, text.as_bytes(), Access::Public).map_err(|e| unwritable(&e))?;
    }
    for name in &files.remove {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(DiskError::io("remove", &path))?;
    }
    host.reload()
}

fn load(host: &dyn NetworkHost) -> Result<Option<Kept>, DiskError> {
    let path = host.state();
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_file(&path, LONGEST)?;
    let damaged =
        |e: serde_json::Error| DiskError::refused(format!("{} is damaged ({e}); restart the node", path.display()));
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

fn save(host: &dyn NetworkHost, state: &Kept) -> Result<(), DiskError> {
    let bytes = serde_json::to_vec(state).map_err(|e| DiskError::refused(e.to_string()))?;
    files::replace(&host.state(), &bytes, Access::Private).map_err(|e| unwritable(&e))
}

fn unwritable(error: &files::FileError) -> DiskError {
    DiskError::refused(format!("the network settings cannot be written: {error}"))
}

/// A name that may stand in a file's name.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..16).contains(&name.len()) && name.chars().all(plain)
}
