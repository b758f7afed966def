//! What writing a stick's image does to the device or file that it goes to.

use meadow_model::hardware::Disk;

use crate::contents;
use crate::refusal::binary;

/// Sectors of the stick's image; its partition table counts in them.
pub const SECTOR: u32 = 512;

/// Where an image is to go, as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// What the person wrote.
    pub path: String,
    /// Its size, its serial number, what lies on it and what uses it; of a file what can be told of one.
    pub disk: Disk,
    /// A device, or a file.
    pub kind: TargetKind,
    /// Bytes of the device's sectors.
    pub sector: u32,
}

/// What the target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetKind {
    /// A device that is made to be carried about.
    #[default]
    Portable,
    /// Any other device: perhaps the disk that this computer boots from.
    Fixed,
    /// A file that is there.
    File,
    /// A file that is not there yet, or is empty.
    NewFile,
}

/// What will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashPlan {
    /// What lies there and will be lost, in words; empty where it is blank.
    pub loses: Vec<String>,
    /// What a person types to consent: the serial number, or the path where there is none. `None`: nothing can be lost.
    pub consent: Option<String>,
}

/// Why an image is not written there, with the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlashRefusal {
    /// Something uses it.
    #[error("{path} is in use ({}); unmount it, or stop what uses it, and try again", .by.join(", "))]
    InUse {
        /// The target.
        path: String,
        /// What uses it.
        by: Vec<String>,
    },
    /// Perhaps the computer's own disk.
    #[error(
        "{0} is no stick and no card, but a disk that stays in this computer; if it is meant all the same, add --fixed-disk"
    )]
    Fixed(String),
    /// Writes are refused.
    #[error("{0} is read-only; look for a write-protect switch, or take another one")]
    ReadOnly(String),
    /// It cannot be read.
    #[error("{0} cannot be read; run as root, or take another one if it is broken")]
    Unreadable(String),
    /// Too small.
    #[error("{path} has {}, the image needs {}; take a larger one", binary(*.has), binary(*.needs))]
    TooSmall {
        /// The target.
        path: String,
        /// Bytes that it has.
        has: u64,
        /// Bytes that are needed.
        needs: u64,
    },
    /// No firmware would find the partitions.
    #[error("{path} has sectors of {sector} bytes, the image is made for {SECTOR}; take another stick")]
    Sectors {
        /// The target.
        path: String,
        /// Bytes of its sectors.
        sector: u32,
    },
}

/// Plans writing an image of `image` bytes. `fixed` allows a disk that is not made to be carried about.
///
/// # Errors
/// [`FlashRefusal`], the one that is most worth knowing.
pub fn plan(target: &Target, image: u64, fixed: bool) -> Result<FlashPlan, FlashRefusal> {
    let Target { path, disk, kind, sector } = target;
    let path = || path.clone();
    if *kind == TargetKind::NewFile {
        return Ok(FlashPlan { loses: Vec::new(), consent: None });
    }
    let held = disk.signature.as_deref() == Some("in use") && disk.in_use.is_empty();
    if held || !disk.in_use.is_empty() {
        let by = if held { vec!["another device".to_owned()] } else { disk.in_use.clone() };
        return Err(FlashRefusal::InUse { path: path(), by });
    }
    if *kind == TargetKind::Fixed && !fixed {
        return Err(FlashRefusal::Fixed(path()));
    }
    if disk.read_only {
        return Err(FlashRefusal::ReadOnly(path()));
    }
    if disk.signature.as_deref() == Some("unreadable") {
        return Err(FlashRefusal::Unreadable(path()));
    }
    if *sector != SECTOR && *kind != TargetKind::File {
        return Err(FlashRefusal::Sectors { path: path(), sector: *sector });
    }
    if disk.size_bytes < image {
        return Err(FlashRefusal::TooSmall { path: path(), has: disk.size_bytes, needs: image });
    }
    let serial = disk.serial.as_deref().map(str::trim).filter(|serial| !serial.is_empty());
    Ok(FlashPlan { loses: contents::in_words(disk), consent: Some(serial.map_or_else(path, str::to_owned)) })
}

#[cfg(test)]
mod tests {
    use meadow_model::hardware::DiskPartition;
    use proptest::prelude::*;

    use super::*;

    const IMAGE: u64 = 787 << 20;

    fn stick() -> Target {
        let disk = Disk {
            name: "sdb".to_owned(),
            serial: Some("4C53".to_owned()),
            size_bytes: 8 << 30,
            signature: Some("dos".to_owned()),
            partitions: vec![DiskPartition { number: 1, size_bytes: 7 << 30, ..DiskPartition::default() }],
            ..Disk::default()
        };
        Target { path: "/dev/sdb".to_owned(), disk, kind: TargetKind::Portable, sector: SECTOR }
    }

    fn changed(change: impl FnOnce(&mut Target)) -> Target {
        let mut target = stick();
        change(&mut target);
        target
    }

    #[test]
    fn a_stick_is_named_by_its_serial_number_and_what_it_loses() {
        let found = plan(&stick(), IMAGE, false).expect("taken");
        assert_eq!(found.consent.as_deref(), Some("4C53"));
        assert_eq!(found.loses.len(), 2);
        let nameless = plan(&changed(|target| target.disk.serial = Some(" ".to_owned())), IMAGE, false).expect("taken");
        assert_eq!(nameless.consent.as_deref(), Some("/dev/sdb"));
        let new = changed(|target| (target.kind, target.disk.size_bytes) = (TargetKind::NewFile, 0));
        assert_eq!(plan(&new, IMAGE, false), Ok(FlashPlan { loses: Vec::new(), consent: None }));
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let path = || "/dev/sdb".to_owned();
        for (target, refusal) in [
            (
                changed(|target| target.disk.in_use = vec!["/media/photos".to_owned()]),
                FlashRefusal::InUse { path: path(), by: vec!["/media/photos".to_owned()] },
            ),
            (
                changed(|target| target.disk.signature = Some("in use".to_owned())),
                FlashRefusal::InUse { path: path(), by: vec!["another device".to_owned()] },
            ),
            (changed(|target| target.kind = TargetKind::Fixed), FlashRefusal::Fixed(path())),
            (changed(|target| target.disk.read_only = true), FlashRefusal::ReadOnly(path())),
            (changed(|target| target.disk.signature = Some("unreadable".to_owned())), FlashRefusal::Unreadable(path())),
            (changed(|target| target.sector = 4096), FlashRefusal::Sectors { path: path(), sector: 4096 }),
            (
                changed(|target| target.disk.size_bytes = IMAGE - 1),
                FlashRefusal::TooSmall { path: path(), has: IMAGE - 1, needs: IMAGE },
            ),
        ] {
            assert_eq!(plan(&target, IMAGE, false), Err(refusal));
        }
        assert!(plan(&changed(|target| target.kind = TargetKind::Fixed), IMAGE, true).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_that_is_there_is_taken_without_consent(
            kind in prop_oneof![Just(TargetKind::Portable), Just(TargetKind::Fixed), Just(TargetKind::File)],
            size in any::<u64>(), image in any::<u64>(), fixed: bool, read_only: bool, used: bool,
            serial in proptest::option::of("[A-Z0-9 ]{0,8}"),
        ) {
            let target = changed(|target| {
                target.kind = kind;
                target.disk.size_bytes = size;
                target.disk.read_only = read_only;
                target.disk.serial = serial;
                if used { target.disk.in_use.push("swap".to_owned()); }
            });
            if let Ok(found) = plan(&target, image, fixed) {
                prop_assert!(found.consent.is_some_and(|word| !word.trim().is_empty()));
                prop_assert!(size >= image && !read_only && !used && (fixed || kind != TargetKind::Fixed));
            }
        }
    }
}
