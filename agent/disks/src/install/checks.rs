//! What is looked at before the first write.

use std::path::{Path, PathBuf};

use meadow_luks::{Key, LuksError, Volume, header};
use meadow_model::hardware::{Disk, Hardware};
use meadow_model::install::{InstallMode, InstallPlan, InstallWork, Partition};
use meadow_plan::{install, layout};

use crate::image::{Image, LOADER_FILES, ROOT, SLOT_FILES};
use crate::machine::Machine;
use crate::progress::Progress;
use crate::{DiskError, copy, preboot_area};

/// Share of the state that the copied files may take at most.
const STATE_SHARE: u64 = 2;
/// Share of the ESP that one slot's files may take at most: two slots and the boot loader have to fit.
const ESP_SHARE: u64 = 3;

/// How far an earlier run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The disk is as it was when the plan was made.
    Untouched,
    /// An earlier run with this very plan was cut off.
    Begun,
    /// An earlier run with this very plan wrote all but perhaps the boot loaders.
    Complete,
}

/// The planned disk, looked at now.
pub(super) fn disk(machine: &dyn Machine, work: &InstallWork) -> Result<(Disk, Found), DiskError> {
    let plan = &work.plan;
    if !install::is_sound(plan) {
        return Err(DiskError::refused("the plan is not the one that somebody consented to; make a new plan"));
    }
    let hardware = Hardware { disks: machine.disks(), ..Hardware::default() };
    let disk = install::find(&plan.node, &hardware, &plan.serial)?;
    if disk.size_bytes != plan.size_bytes {
        return Err(DiskError::refused(format!(
            "the disk {} has {} bytes, the plan was made for {}; make a new plan",
            plan.serial, disk.size_bytes, plan.size_bytes
        )));
    }
    let node = machine.disk_node(&disk.name);
    let preboot = partition(plan, layout::PREBOOT)?;
    let begun = preboot_area::begun(&node, preboot.start, &plan.hash);
    if let Some(volume) = &begun
        && is_complete(plan, &node, volume)?
        && opens(&machine.partition_node(&disk.name, partition(plan, layout::STATE)?), work)?
    {
        return Ok((disk.clone(), Found::Complete));
    }
    refuse_own(machine, plan, disk)?;
    install::refuse(&plan.node, disk, &plan.serial, plan.mode)?;
    if begun.is_some() {
        return Ok((disk.clone(), Found::Begun));
    }
    let loses = install::loses(disk);
    if loses != plan.loses {
        let now = if loses.is_empty() { "nothing".to_owned() } else { loses.join("; ") };
        return Err(DiskError::refused(format!(
            "what lies on {} ({}) is not what the plan was made for, it is now: {now}; nothing was written, make a new plan",
            disk.name, plan.serial
        )));
    }
    Ok((disk.clone(), Found::Untouched))
}

/// The disk whose state is open is in use in any case. Whoever asks for an installation that is done, and whose answer was
/// lost, is told so.
fn refuse_own(machine: &dyn Machine, plan: &InstallPlan, disk: &Disk) -> Result<(), DiskError> {
    if machine.state_disk().as_ref() != Some(&disk.name) {
        return Ok(());
    }
    Err(DiskError::refused(format!(
        "{} ({}) holds the state that is open on this node now, and nothing was written; where this very installation came to \
         its end and only its answer was lost, nothing is left to do but `meadow node keys recovery {}` for the recovery key",
        disk.name, plan.serial, plan.node
    )))
}

/// Whether the record, which comes after all but the boot loaders, names the very volume that the run with the mark began to
/// make, and that one lies there. A record and a volume of an earlier installation fit each other too, but have another UUID.
fn is_complete(plan: &InstallPlan, node: &Path, volume: &str) -> Result<bool, DiskError> {
    let preboot = partition(plan, layout::PREBOOT)?;
    let Some(record) = preboot_area::read(node, preboot.start)? else { return Ok(false) };
    let state = partition(plan, layout::STATE)?;
    let copies = header::inspect_at(node, state.start)?;
    let lies_there = copies.newest().is_some_and(|copy| copy.uuid == volume);
    Ok(record.node == plan.node
        && record.installed == (plan.mode == InstallMode::System)
        && record.luks_uuid == volume
        && lies_there)
}

/// Whether the passphrase opens the volume: somebody who asks again with another one wants that one to open it.
fn opens(state: &Path, work: &InstallWork) -> Result<bool, DiskError> {
    match Volume::open(state)?.test(&Key::typed(work.passphrase.expose())?) {
        Ok(_) => Ok(true),
        Err(LuksError::WrongKey) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A partition of the plan.
pub(super) fn partition<'a>(plan: &'a InstallPlan, name: &str) -> Result<&'a Partition, DiskError> {
    plan.partitions
        .iter()
        .find(|partition| partition.name == name)
        .ok_or_else(|| DiskError::refused(format!("the plan has no partition {name}; make a new plan")))
}

/// The folder whose contents become the state.
pub(super) fn state_source(work: &InstallWork) -> Result<PathBuf, DiskError> {
    let source = PathBuf::from(&work.state_from);
    let (bytes, room) = (copy::size(&source)?, partition(&work.plan, layout::STATE)?.size / STATE_SHARE);
    if bytes > room {
        return Err(DiskError::refused(format!(
            "{} has {bytes} bytes, the new state takes at most {room}; remove what is not needed or take a larger disk",
            source.display()
        )));
    }
    Ok(source)
}

/// The image, checked whole; `None` where only the state is wanted.
pub(super) fn image(work: &InstallWork, progress: &mut Progress<'_>) -> Result<Option<Image>, DiskError> {
    let folder = match (work.plan.mode, &work.image) {
        (InstallMode::StateOnly, _) => return Ok(None),
        (InstallMode::System, Some(folder)) => Path::new(folder),
        (InstallMode::System, None) => {
            return Err(DiskError::refused("no image was given to install; fetch it and ask again"));
        }
    };
    let image = Image::open(folder)?;
    fits(&image, &[ROOT], partition(&work.plan, layout::ROOT_A)?.size)?;
    fits(&image, &["grub/core.img"], partition(&work.plan, layout::BIOS)?.size)?;
    fits(&image, &SLOT_FILES, partition(&work.plan, layout::ESP)?.size / ESP_SHARE)?;
    let names: Vec<&str> = [ROOT].into_iter().chain(SLOT_FILES).chain(LOADER_FILES).collect();
    image.check(&names, progress)?;
    Ok(Some(image))
}

/// Makes sure that these artifacts have at most `room` bytes together.
pub(crate) fn fits(image: &Image, names: &[&str], room: u64) -> Result<(), DiskError> {
    let bytes = image.size(names)?;
    if bytes <= room {
        return Ok(());
    }
    Err(DiskError::refused(format!(
        "{} of the image have {bytes} bytes, there is room for {room}; build a smaller image",
        names.join(", ")
    )))
}
