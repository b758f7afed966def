//! A node is installed again over what it was before, and cut off at any write that its disk saw. What the earlier
//! installation left is never taken for the end of this one, and the same request completes it.

use std::fs;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use meadow_disks::{Installed, Machine, install};
use meadow_luks::{Key, Volume};
use meadow_model::Secret;
use meadow_model::install::{DiskReply, DiskRequest, InstallMode, InstallWork};
use meadow_model::record::AREA_BYTES;
use meadow_power::WriteLog;

use crate::image;
use crate::install::{assert_complete, run};
use crate::keys::ask;
use crate::machine::{DATA_OFFSET, MadeUp};
use crate::{ends, seeds};

const OLD: &str = "the passphrase of before";
/// Of the cuts, every which one is followed by the whole installation.
const COMPLETED: usize = 16;
/// Bytes at the start of the state's file system, far from the end of the partition, which is cleared before.
const FILE_SYSTEM: u64 = 64 << 20;

/// An installation over an older one, recorded.
pub(crate) struct Recorded {
    pub(crate) machine: MadeUp,
    pub(crate) work: InstallWork,
    pub(crate) log: WriteLog,
    pub(crate) old: String,
    pub(crate) new: String,
}

pub(crate) fn recorded() -> Recorded {
    let machine = MadeUp::new(4 << 30);
    let mut work = image::work(&machine, InstallMode::System);
    let state = machine.folder().join("old-state");
    fs::create_dir_all(state.join("identity")).unwrap();
    fs::write(state.join("identity/node.key"), "a key that was revoked").unwrap();
    (work.passphrase, work.state_from) = (Secret::new(OLD.to_owned()), state.display().to_string());
    let old = run(&machine, &work).unwrap().disk.luks_uuid;
    let work = image::work(&machine, InstallMode::System);
    assert!(!work.plan.loses.is_empty());
    let (new, log) = machine.record(|| run(&machine, &work).unwrap().disk.luks_uuid);
    assert_ne!(old, new);
    Recorded { machine, work, log, old, new }
}

/// What the same request does with the disk as it is; nothing is written by that, unless all but the boot loaders is there.
fn same_again(machine: &MadeUp, work: &InstallWork) -> Option<Installed> {
    struct StartsOver;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        install(machine, work, &mut |step, _| {
            // Said before the first write.
            if step == "writes the partition table" {
                resume_unwind(Box::new(StartsOver));
            }
        })
    }));
    ended.ok().map(Result::unwrap)
}

impl Recorded {
    /// Says what is wrong with the disk that a cut left.
    fn judge(&self) -> Result<(), String> {
        self.machine.restart_hard();
        let DiskReply::Done { disk, .. } = ask(&self.machine, &DiskRequest::Look) else {
            return Err("the disk cannot be looked at".to_owned());
        };
        match disk {
            Some(disk) if disk.luks_uuid == self.new => self.is_new()?,
            Some(disk) if disk.luks_uuid != self.old => return Err("it is the disk of another node".to_owned()),
            _ => {}
        }
        match same_again(&self.machine, &self.work) {
            Some(done) if done.disk.luks_uuid != self.new => {
                Err("the old installation is taken for the new".to_owned())
            }
            Some(_) => self.is_new(),
            None => Ok(()),
        }
    }

    pub(crate) fn is_new(&self) -> Result<(), String> {
        let whole = || assert_complete(&self.machine, &self.work, None);
        catch_unwind(AssertUnwindSafe(whole)).map_err(|_| "it counts as installed and is not whole".to_owned())?;
        let state = image::plan_of(&self.machine, "meadow-state");
        let mut volume = Volume::open(&self.machine.partition_node("sda", &state)).unwrap();
        volume.test(&Key::typed(OLD).unwrap()).err().map(|_| ()).ok_or("the old passphrase opens it".to_owned())
    }

    fn complete(&self) {
        let installed = run(&self.machine, &self.work).unwrap();
        assert_complete(&self.machine, &self.work, installed.recovery_key.as_ref());
        self.machine.restart_hard();
    }
}

#[test]
fn a_new_installation_over_an_old_one_survives_a_cut_at_any_write() {
    let recorded = recorded();
    let (log, disk) = (&recorded.log, recorded.machine.disk());
    println!("{} writes, {} flushes", log.len(), log.flushes().len());
    assert!(log.flushes().len() > 20, "{log:?}");
    // Killed: all that was written is there.
    for (tried, end) in ends(log.len()).enumerate() {
        recorded.machine.restart_hard();
        log.replay(&recorded.machine.base(), &disk, end, |_| false).unwrap();
        recorded
            .judge()
            .unwrap_or_else(|why| panic!("after {end} of {} writes: {why}; {}", log.len(), recorded.machine.keep()));
        if tried % COMPLETED == 0 {
            recorded.complete();
        }
    }
}

#[test]
fn a_new_installation_over_an_old_one_survives_the_loss_of_what_was_not_flushed() {
    let recorded = recorded();
    let disk = recorded.machine.disk();
    for seed in seeds() {
        recorded.machine.restart_hard();
        let said = recorded.log.cut_power(&recorded.machine.base(), &disk, seed).unwrap();
        recorded.judge().unwrap_or_else(|why| panic!("{said}: {why}; {}", recorded.machine.keep()));
        if seed % 8 == 0 {
            recorded.complete();
        }
    }
}

/// While the mark stands, the disk is no node's, and a run starts over but where record and volume are whole and its own. So
/// before the record no flush decides anything alone: a lost part makes the next run start over, and the last flushes of the
/// state are behind those of its file system. What decides is
///
/// - that the state is there before the record: the flushes of the file system together;
/// - that what the boot code loads is there before the boot code, which says that all is;
/// - that the boot code is there before the mark goes, which is the last to say that something is missing.
///
/// The flushes between the record and the boot code are those of the ESP, and the mark still stands: done again, it comes to
/// the same.
#[test]
fn an_installation_without_one_of_its_flushes_would_not_survive() {
    let recorded = recorded();
    let (log, flushes) = (&recorded.log, recorded.log.flushes());
    let lost = |range: &RangeInclusive<usize>| {
        recorded.machine.restart_hard();
        let cut = log.without_flushes(&recorded.machine.base(), &recorded.machine.disk(), range).unwrap();
        cut.and_then(|()| recorded.judge().err())
    };
    let found: Vec<usize> = flushes.iter().copied().filter(|flush| lost(&(*flush..=*flush)).is_some()).collect();
    println!("{} of {} flushes are needed: {found:?}", found.len(), flushes.len());
    let [.., loaded, boot_code, _] = flushes[..] else { panic!("{flushes:?}") };
    assert_eq!(found, [loaded, boot_code], "of {flushes:?}");

    let part = |name| image::plan_of(&recorded.machine, name).start;
    let (state, preboot) = (part("meadow-state") + DATA_OFFSET, part("meadow-preboot"));
    let filled = log.writes_to(&(state..state + FILE_SYSTEM))[0];
    let record = *log.writes_to(&(preboot..preboot + AREA_BYTES as u64)).last().unwrap();
    let between: Vec<usize> = flushes.into_iter().filter(|flush| (filled..record).contains(flush)).collect();
    let of_state = between[0]..=between[between.len() - 1];
    assert!(lost(&of_state).is_some(), "nobody notices that the state is lost without the flushes {of_state:?}");
}
