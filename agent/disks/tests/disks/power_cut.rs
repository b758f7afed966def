//! Installations that are cut off anywhere: the disk is never taken for a node's before it is one, and the same plan
//! completes it.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use meadow_disks::{Machine, install, serve};
use meadow_model::install::{DiskReply, InstallMode, InstallWork};

use crate::image;
use crate::install::{assert_complete, run};
use crate::machine::MadeUp;
use crate::network::Folder;

struct Cut;

/// Runs until the `count`-th word of progress; says whether it came that far.
fn cut_off(machine: &MadeUp, work: &InstallWork, count: usize) -> bool {
    let told = RefCell::new(0);
    let cut = catch_unwind(AssertUnwindSafe(|| {
        let ended = install(machine, work, &mut |_, _| {
            *told.borrow_mut() += 1;
            if *told.borrow() == count {
                resume_unwind(Box::new(Cut));
            }
        });
        eprintln!("not cut off at {count}, after {} words: {:?}", told.borrow(), ended.err());
    }));
    machine.restart_hard();
    cut.is_err()
}

/// Whether the helper finds a node's disk.
fn is_a_nodes(machine: &MadeUp) -> bool {
    let mut output = Vec::new();
    serve(machine, &Folder::nowhere(), &mut b"{\"do\":\"look\"}\n".as_slice(), &mut output, |_| Ok(Some(())));
    match serde_json::from_slice(&output).unwrap() {
        DiskReply::Done { disk, .. } => disk.is_some(),
        other => panic!("{other:?}"),
    }
}

fn count_words(machine: &MadeUp, work: &InstallWork) -> usize {
    let mut words = 0;
    install(machine, work, &mut |_, _| words += 1).unwrap();
    words
}

#[test]
fn a_system_that_was_cut_off_is_completed() {
    let words = {
        let machine = MadeUp::new(4 << 30);
        count_words(&machine, &image::work(&machine, InstallMode::System))
    };
    let machine = MadeUp::new(4 << 30);
    let work = image::work(&machine, InstallMode::System);
    // One disk through all of them: what an earlier cut left is what the next run finds.
    let mut changed = false;
    for count in 1..=words {
        let before = image::plan(&machine, InstallMode::System);
        assert!(cut_off(&machine, &work, count), "cut {count} of {words} did not happen");
        assert!(!is_a_nodes(&machine), "after cut {count} of {words}");
        changed |= before.loses != image::plan(&machine, InstallMode::System).loses;
    }
    assert!(changed);
    // Another plan for what lies there now needs consent of its own; this one goes on.
    let installed = run(&machine, &work).unwrap();
    assert!(is_a_nodes(&machine));
    assert_complete(&machine, &work, installed.recovery_key.as_ref());
}

#[test]
fn a_torn_partition_table_is_completed() {
    let machine = MadeUp::new(2 << 30);
    let work = image::work(&machine, InstallMode::StateOnly);
    let disk = OpenOptions::new().write(true).open(machine.disk()).unwrap();
    let size = work.plan.size_bytes;
    // What a cut in the middle of the table leaves: either copy, neither, or a part of one.
    let torn: [&[(u64, usize)]; 5] =
        [&[(512, 512)], &[(size - 512, 512)], &[(512, 512), (size - 512, 512)], &[(0, 1 << 20)], &[(1024, 64)]];
    for (index, pieces) in torn.into_iter().enumerate() {
        assert!(cut_off(&machine, &work, 3), "cut {index}");
        for (offset, length) in pieces {
            disk.write_all_at(&vec![0xa5; *length], *offset).unwrap();
        }
        machine.change("sda", |disk| disk.signature = Some("unknown data".to_owned()));
        assert!(!is_a_nodes(&machine));
    }
    let installed = run(&machine, &work).unwrap();
    assert_complete(&machine, &work, installed.recovery_key.as_ref());
}

#[test]
fn only_the_very_plan_goes_on() {
    let machine = MadeUp::new(2 << 30);
    let work = image::work(&machine, InstallMode::StateOnly);
    assert!(cut_off(&machine, &work, 3));
    let mut other = work.clone();
    other.plan.model = Some("another".to_owned());
    other.plan.hash = meadow_plan::install::hash(&other.plan);
    let why = run(&machine, &other).unwrap_err();
    assert!(why.contains("is not what the plan was made for"), "{why}");
    // What lies there now can be planned for, too.
    let fresh = image::work(&machine, InstallMode::StateOnly);
    assert!(!fresh.plan.loses.is_empty());
    let installed = run(&machine, &fresh).unwrap();
    assert_complete(&machine, &fresh, installed.recovery_key.as_ref());
}

#[test]
fn a_lost_answer_is_given_again_without_writing_anything_again() {
    let machine = MadeUp::new(2 << 30);
    let work = image::work(&machine, InstallMode::StateOnly);
    let installed = run(&machine, &work).unwrap();
    machine.restart_hard();
    // As if power had failed between the record and the removal of the mark.
    let preboot = &work.plan.partitions[0];
    let mut mark = format!("meadow installs {} {}\n", work.plan.hash, installed.disk.luks_uuid).into_bytes();
    mark.resize(4096, 0);
    let disk = OpenOptions::new().write(true).open(machine.disk()).unwrap();
    disk.write_all_at(&mark, preboot.start + (2 << 20)).unwrap();
    machine.change("sda", |disk| disk.in_use = vec!["/var".to_owned()]);
    let again = run(&machine, &work).unwrap();
    assert_eq!(again.disk, installed.disk);
    assert!(again.recovery_key.is_none());
    machine.change("sda", |disk| disk.in_use.clear());
    assert_complete(&machine, &work, installed.recovery_key.as_ref());
    assert!(run(&machine, &work).is_err());
    let _ = machine.disks();
}
