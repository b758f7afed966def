//! The mark of an installation on a disk that its node runs from: a look removes it where the installation is whole, and not
//! before.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use meadow_disks::serve;
use meadow_model::install::{DiskReply, DiskRequest, InstallMode, InstallWork};
use meadow_model::preboot::{MARK_BYTES, Mark};
use meadow_model::record::AREA_BYTES;

use crate::image;
use crate::install::{assert_complete, run};
use crate::install_cuts::recorded;
use crate::keys::ask;
use crate::machine::MadeUp;
use crate::network::Folder;
use crate::seeds;

fn place(work: &InstallWork) -> u64 {
    let preboot = work.plan.partitions.iter().find(|part| part.name == "meadow-preboot").unwrap();
    preboot.start + AREA_BYTES as u64
}

fn mark(machine: &MadeUp, work: &InstallWork) -> Option<Mark> {
    let mut bytes = [0; MARK_BYTES];
    File::open(machine.disk()).unwrap().read_exact_at(&mut bytes, place(work)).unwrap();
    Mark::parse(&bytes)
}

fn set_mark(machine: &MadeUp, work: &InstallWork, mark: &Mark) {
    let disk = OpenOptions::new().write(true).open(machine.disk()).unwrap();
    disk.write_all_at(&mark.bytes(), place(work)).unwrap();
}

/// UUID of the state on this node's disk.
fn look(machine: &MadeUp) -> Option<String> {
    match ask(machine, &DiskRequest::Look) {
        DiskReply::Done { disk, .. } => disk.map(|disk| disk.luks_uuid),
        other => panic!("{other:?}"),
    }
}

/// Of the installations that are found unfinished, every which one is carried on: that costs a second.
const CARRIED_ON: usize = 16;

/// What a look finds, and whether it removes the mark that lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// There is none.
    Unmarked,
    /// It stays, and the disk is no node's.
    Nothing,
    /// It stays on the disk of the new installation, which a rerun completes.
    Unfinished,
    /// It is gone: the new installation is whole.
    New,
    /// It is gone: the old installation is there still.
    Old,
}

#[test]
fn a_look_at_the_disk_that_the_node_runs_from_removes_it_once_all_is_written() {
    let recorded = recorded();
    let (machine, work, log) = (&recorded.machine, &recorded.work, &recorded.log);
    let (mut found, mut unfinished) = (Vec::new(), 0);
    for end in 0..=log.len() {
        machine.restart_hard();
        log.replay(&machine.base(), &machine.disk(), end, |_| false).unwrap();
        let before = mark(machine, work);
        if before.is_some() {
            assert_eq!((look(machine), mark(machine, work)), (None, before.clone()), "write {end}: nobody opened it");
        }
        machine.unlocks("sda");
        let seen = look(machine);
        let after = mark(machine, work);
        assert_eq!(look(machine), seen, "write {end}");
        found.push(match (&before, &after, &seen) {
            (None, None, _) => Found::Unmarked,
            (Some(_), Some(_), None) => Found::Nothing,
            (Some(_), Some(_), Some(seen)) if *seen == recorded.new => {
                unfinished += 1;
                // `install_cuts` carries each of them on; here a look has come between.
                if unfinished % CARRIED_ON != 1 {
                    found.push(Found::Unfinished);
                    continue;
                }
                let installed = run(machine, work).unwrap();
                assert!(installed.recovery_key.is_none(), "write {end}: it began anew");
                assert_eq!(mark(machine, work), None);
                assert_complete(machine, work, None);
                Found::Unfinished
            }
            (Some(_), None, Some(seen)) if *seen == recorded.new => {
                recorded.is_new().unwrap_or_else(|why| panic!("write {end}: {why}"));
                Found::New
            }
            (Some(_), None, Some(seen)) if *seen == recorded.old => Found::Old,
            odd => panic!("write {end}: {odd:?}"),
        });
    }
    found.dedup();
    let course = [Found::Unmarked, Found::Old, Found::Nothing, Found::Unfinished, Found::New, Found::Unmarked];
    assert_eq!(found, course);
}

#[test]
fn whatever_was_not_flushed_a_disk_without_the_mark_is_whole() {
    let recorded = recorded();
    let machine = &recorded.machine;
    let mut removed = 0;
    for seed in seeds() {
        machine.restart_hard();
        let said = recorded.log.cut_power(&machine.base(), &machine.disk(), seed).unwrap();
        let before = mark(machine, &recorded.work);
        machine.unlocks("sda");
        let seen = look(machine);
        if before.is_some() && mark(machine, &recorded.work).is_none() {
            removed += 1;
            match seen {
                Some(uuid) if uuid == recorded.new => recorded.is_new().unwrap_or_else(|why| panic!("{said}: {why}")),
                seen => assert_eq!(seen.as_ref(), Some(&recorded.old), "{said}"),
            }
        }
    }
    println!("{removed} marks were removed");
}

#[test]
fn it_stays_beside_another_change_and_a_reset_keeps_its_own() {
    let machine = MadeUp::new(2 << 30);
    let work = image::work(&machine, InstallMode::StateOnly);
    let uuid = run(&machine, &work).unwrap().disk.luks_uuid;
    let installs = Mark::Installs { plan: work.plan.hash.clone(), volume: uuid.clone() };
    set_mark(&machine, &work, &installs);
    machine.restart_hard();
    machine.unlocks("sda");
    let busy: [fn() -> io::Result<Option<()>>; 2] = [|| Ok(None), || Err(io::Error::other("no memory"))];
    for busy in busy {
        let lock = |patience: Duration| {
            assert!(patience.is_zero(), "a look waits for nothing");
            busy()
        };
        let mut output = Vec::new();
        serve(&machine, &Folder::nowhere(), &mut b"{\"do\":\"look\"}\n".as_slice(), &mut output, lock);
        let reply = serde_json::from_slice(&output).unwrap();
        assert!(matches!(reply, DiskReply::Done { disk: Some(_), .. }), "{reply:?}");
        assert_eq!(mark(&machine, &work), Some(installs.clone()));
    }
    assert_eq!((look(&machine), mark(&machine, &work)), (Some(uuid), None));

    // Nobody carries the plan out again then; whoever asks for it is told why.
    let before = fs::metadata(machine.disk()).unwrap().modified().unwrap();
    let why = run(&machine, &work).unwrap_err();
    assert!(why.contains("holds the state that is open") && why.contains("meadow node keys recovery node-1"), "{why}");
    assert_eq!(fs::metadata(machine.disk()).unwrap().modified().unwrap(), before);

    let resets = Mark::Resets(work.plan.hash.clone());
    set_mark(&machine, &work, &resets);
    machine.restart_hard();
    machine.unlocks("sda");
    look(&machine);
    assert_eq!(mark(&machine, &work), Some(resets));
}
