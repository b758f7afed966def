//! The disk of this node.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use meadow_luks::{Volume, header};
use meadow_model::hardware::Disk;
use meadow_model::image::SlotImage;
use meadow_model::install::{BootSlot, InstallMode, InstalledDisk, Partition};
use meadow_model::preboot::{HostKey, Mark, Preboot};
use meadow_model::ssh_key;
use meadow_plan::layout;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::area::Area;
use crate::esp::Esp;
use crate::grubenv::GrubEnv;
use crate::machine::Machine;
use crate::update::is_trial_of;
use crate::{DiskError, preboot_area, slot, table};

/// How long udev may keep a disk locked.
const STEADY_TRIES: u32 = 40;
const STEADY_PAUSE: Duration = Duration::from_millis(50);

/// The disk of this node, with its record.
pub(crate) struct OwnDisk {
    pub(crate) disk: Disk,
    pub(crate) record: Preboot,
    partitions: Vec<Partition>,
}

impl OwnDisk {
    /// Reads a disk's table and record; `None` where it is not a node's, or not yet, or where it only says whose it was: the
    /// volume of the record is not there any more.
    fn read(machine: &dyn Machine, disk: &Disk) -> Result<Option<Self>, DiskError> {
        let node = machine.disk_node(&disk.name);
        let partitions = table::read(&node)?;
        let named = |name: &str| partitions.iter().find(|partition| partition.name == name);
        let (Some(preboot), Some(state)) = (named(layout::PREBOOT), named(layout::STATE)) else { return Ok(None) };
        let place = machine.partition_node(&disk.name, preboot);
        // An installation that did not come to its end made no node's disk, but for the node that runs from it.
        let installs = matches!(preboot_area::mark_of(&place, 0), Some(Mark::Installs { .. }));
        if installs && machine.state_disk().as_ref() != Some(&disk.name) {
            return Ok(None);
        }
        let record = preboot_area::read(&place, 0)?;
        let Some(record) = record else { return Ok(None) };
        let copies = header::inspect(&machine.partition_node(&disk.name, state))?;
        let is_there = copies.newest().is_some_and(|copy| copy.uuid.eq_ignore_ascii_case(&record.luks_uuid));
        Ok(is_there.then_some(Self { disk: disk.clone(), record, partitions }))
    }

    /// The device of one of its partitions.
    pub(crate) fn node(&self, machine: &dyn Machine, name: &str) -> Result<PathBuf, DiskError> {
        let found = self.partitions.iter().find(|partition| partition.name == name);
        let partition = found.ok_or_else(|| {
            DiskError::refused(format!("{} has no partition {name}; only its state lies there", self.disk.name))
        })?;
        Ok(machine.partition_node(&self.disk.name, partition))
    }

    /// One of its partitions, as its table has it.
    pub(crate) fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// Opens the header of its state, the very volume that the record names.
    pub(crate) fn volume(&self, machine: &dyn Machine) -> Result<Volume, DiskError> {
        let volume = Volume::open(&self.node(machine, layout::STATE)?)?;
        volume.expect_uuid(&self.record.luks_uuid)?;
        Ok(volume)
    }

    /// The slot that runs now, where this start came from this disk.
    pub(crate) fn running(&self, machine: &dyn Machine) -> Option<BootSlot> {
        let report = machine.boot_report()?;
        let here = report.disk.is_some() && report.disk == self.disk.serial;
        report.slot.filter(|_| here)
    }

    fn look_at_system(&self, machine: &dyn Machine) -> Result<(Vec<SlotImage>, GrubEnv), DiskError> {
        let esp = Esp::open_to_read(&self.node(machine, layout::ESP)?)?;
        let mut slots = Vec::new();
        for slot in [BootSlot::A, BootSlot::B] {
            slots.extend(slot::image(&esp, slot)?);
        }
        Ok((slots, slot::grubenv(&esp)?))
    }

    pub(crate) fn describe(&self, machine: &dyn Machine) -> Result<InstalledDisk, DiskError> {
        let mode = if self.record.installed { InstallMode::System } else { InstallMode::StateOnly };
        let running = self.running(machine);
        let (mut slots, mut environment) = (Vec::new(), None);
        if mode == InstallMode::System {
            match self.look_at_system(machine) {
                Ok((found, env)) => (slots, environment) = (found, Some(env)),
                // A node whose system is damaged is a node all the same, and has to tell so to be helped.
                Err(error) => tracing::warn!(%error, "the system on this node's disk cannot be read"),
            }
        }
        let gave_up = |env: &GrubEnv| running.and_then(|running| given_up(env, running));
        Ok(InstalledDisk {
            serial: self.disk.serial.clone().unwrap_or_default(),
            disk: self.disk.name.clone(),
            mode,
            luks_uuid: self.record.luks_uuid.clone(),
            host_key: self.record.host_key.fingerprint().to_owned(),
            host_key_sealed: matches!(self.record.host_key, HostKey::Sealed { .. }),
            keys: self.volume(machine)?.keys()?,
            running,
            blessed: environment.as_ref().map(|env| env.blessed),
            tried: environment.as_ref().and_then(|env| env.tried),
            went_back_from: environment.as_ref().and_then(gave_up),
            slots,
            ssh_keys: Some(ssh_key::digest(&self.record.authorized_keys)),
        })
    }

    /// Writes another record of this node; nothing where it is the same.
    pub(crate) fn write_record(&self, machine: &dyn Machine, record: &Preboot) -> Result<(), DiskError> {
        if *record == self.record {
            return Ok(());
        }
        let path = self.node(machine, layout::PREBOOT)?;
        preboot_area::write(&Area::open(&path)?, record, &path)
    }
}

/// The slot that was given up before the one that runs: tried and not blessed, or blessed and not to be started.
fn given_up(environment: &GrubEnv, running: BootSlot) -> Option<BootSlot> {
    let tried = environment.attempted.filter(|slot| environment.tried.is_none() && running != *slot);
    let not_started = running != environment.blessed && !is_trial_of(environment, running);
    tried.or(not_started.then_some(environment.blessed))
}

/// Finds the disk of this node: the one with the state that is open, else the only one with a node's record.
pub(crate) fn find(machine: &dyn Machine) -> Result<Option<OwnDisk>, DiskError> {
    let (mut found, open) = (Vec::new(), machine.state_disk());
    // Another disk, onto which something is being written perhaps, is not waited for then.
    let is_candidate = |disk: &Disk| open.as_ref().is_none_or(|open| disk.name == *open);
    for disk in machine.disks().into_iter().filter(is_candidate) {
        let _steady = hold_steady(&machine.disk_node(&disk.name));
        match OwnDisk::read(machine, &disk) {
            Ok(own) => found.extend(own),
            // Another disk that cannot be read says nothing of ours.
            Err(error) => tracing::warn!(disk = disk.name, %error, "a disk is left out"),
        }
    }
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|own| own.disk.name.as_str()).collect();
        return Err(DiskError::refused(format!(
            "the disks {} all have a node's record and none is open; unplug those that are not this node's",
            names.join(" and ")
        )));
    }
    Ok(found.pop())
}

/// Holds udev off a disk while it is read. When somebody has written to a disk that nobody uses, udev locks it and has its table read
/// anew, and the partitions' devices are away for a moment. Whoever holds it for longer is writing to it: it is read as it is.
fn hold_steady(disk: &Path) -> Option<File> {
    let file = File::open(disk).ok()?;
    for _ in 0..STEADY_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => thread::sleep(STEADY_PAUSE),
            locked => return locked.is_ok().then_some(file),
        }
    }
    None
}

/// The disk of this node, where there has to be one.
pub(crate) fn require(machine: &dyn Machine) -> Result<OwnDisk, DiskError> {
    find(machine)?.ok_or_else(|| {
        DiskError::refused("this node has no disk of its own; install it with `meadow node install NAME --disk SERIAL`")
    })
}

/// Describes a disk that was just installed.
pub(crate) fn look_at(machine: &dyn Machine, disk: &Disk) -> Result<InstalledDisk, DiskError> {
    let own = OwnDisk::read(machine, disk)?;
    own.ok_or_else(|| DiskError::refused(format!("{} does not read as it was written; try again", disk.name)))?
        .describe(machine)
}
