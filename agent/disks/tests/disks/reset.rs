//! A factory reset: what it erases, what it leaves alone, and what a power cut leaves.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use meadow_disks::{Machine, serve};
use meadow_luks::{Volume, header};
use meadow_model::Name;
use meadow_model::hardware::Hardware;
use meadow_model::install::{DiskReply, DiskRequest, InstallMode, InstallWork, Partition};
use meadow_model::preboot::{MARK_BYTES, Mark};
use meadow_model::record::{self, AREA_BYTES};
use meadow_model::reset::{Erasure, ResetPlan};
use meadow_plan::reset;

use crate::image;
use crate::install::run;
use crate::keys::{ask, why};
use crate::machine::{Loop, MadeUp};
use crate::network::Folder;
use crate::stock;

struct Cut;

/// An installed node with another disk that holds somebody's data.
fn node() -> (MadeUp, InstallWork) {
    let machine = MadeUp::new(2 << 30);
    let work = image::work(&machine, InstallMode::StateOnly);
    run(&machine, &work).unwrap();
    machine.plug_in("sdb", "S2", 64 << 20);
    let other = OpenOptions::new().write(true).open(machine.disk_node("sdb")).unwrap();
    other.write_all_at(b"precious", 4096).unwrap();
    machine.change("sdb", |disk| disk.signature = Some("unknown data".to_owned()));
    (machine, work)
}

fn plan(machine: &MadeUp, serials: &[&str]) -> ResetPlan {
    let DiskReply::Done { disk, .. } = ask(machine, &DiskRequest::Look) else { panic!("no disk") };
    let hardware = Hardware { disks: machine.disks(), ..Hardware::default() };
    let serials: Vec<String> = serials.iter().map(|serial| (*serial).to_owned()).collect();
    reset::plan(&Name::new("node-1").unwrap(), &hardware, disk.as_ref(), &serials).unwrap()
}

fn part<'a>(work: &'a InstallWork, name: &str) -> &'a Partition {
    work.plan.partitions.iter().find(|part| part.name == name).unwrap()
}

fn read(machine: &MadeUp, disk: &str, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    std::fs::File::open(machine.disk_node(disk)).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

fn mark(machine: &MadeUp, work: &InstallWork) -> Option<Mark> {
    Mark::parse(&read(machine, "sda", part(work, "meadow-preboot").start + AREA_BYTES as u64, MARK_BYTES))
}

/// Nobody's node is left, and nothing that a key could open.
fn assert_erased(machine: &MadeUp, work: &InstallWork) {
    machine.restart_hard();
    assert_eq!(mark(machine, work), None);
    let record = read(machine, "sda", part(work, "meadow-preboot").start, AREA_BYTES);
    assert!(record::newest(&record).is_none() && record.iter().all(|byte| *byte == 0));
    let state = part(work, "meadow-state");
    let copies = header::inspect_at(&machine.disk(), state.start).unwrap();
    assert!(copies.newest().is_none() && !copies.traces);
    assert!(read(machine, "sda", state.start, 16 << 20).iter().all(|byte| *byte == 0), "a key slot is left");
    assert!(Volume::open(&machine.partition_node("sda", state)).is_err());
    assert!(matches!(ask(machine, &DiskRequest::Look), DiskReply::Done { disk: None, .. }));
}

/// Runs until the `count`-th word of progress; says whether it came that far.
fn cut_off(machine: &MadeUp, plan: &ResetPlan, count: usize) -> bool {
    let request = serde_json::to_vec(&DiskRequest::Reset(Box::new(plan.clone()))).unwrap();
    let mut output = CutAt { lines: 0, at: count };
    let cut = catch_unwind(AssertUnwindSafe(|| {
        serve(machine, &Folder::nowhere(), &mut request.as_slice(), &mut output, |_| Ok(Some(())))
    }));
    machine.restart_hard();
    cut.is_err()
}

/// Where the power fails: as the helper says what it does next.
struct CutAt {
    lines: usize,
    at: usize,
}

impl std::io::Write for CutAt {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.lines += 1;
        if self.lines == self.at && !String::from_utf8_lossy(bytes).contains("\"done\"") {
            resume_unwind(Box::new(Cut));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_state_is_erased_and_a_disk_that_nobody_named_is_left_alone() {
    let (machine, work) = node();
    let before = image::digest(&machine.disk_node("sdb"));
    let plan = plan(&machine, &[]);
    assert_eq!(plan.keeps.len(), 1, "{plan:?}");
    let done = ask(&machine, &DiskRequest::Reset(Box::new(plan)));
    assert!(matches!(done, DiskReply::Done { disk: None, .. }), "{done:?}");
    assert_erased(&machine, &work);
    assert!(before == image::digest(&machine.disk_node("sdb")));
    // What is erased is planned for and installed like any other disk.
    run(&machine, &image::work(&machine, InstallMode::StateOnly)).unwrap();
}

#[test]
fn another_disk_is_wiped_with_consent_for_what_lies_on_it_now() {
    let (machine, work) = node();
    let consented = plan(&machine, &["S2"]);
    machine.change("sdb", |disk| disk.signature = Some("ntfs".to_owned()));
    let (state, other) = (image::digest(&machine.disk()), image::digest(&machine.disk_node("sdb")));
    let refused = why(ask(&machine, &DiskRequest::Reset(Box::new(consented.clone()))));
    assert!(refused.contains("is not what the plan was made for; nothing was erased"), "{refused}");
    let forged = ResetPlan { wipes: Vec::new(), ..consented.clone() };
    assert!(why(ask(&machine, &DiskRequest::Reset(Box::new(forged)))).contains("not the one that somebody consented"));
    assert!(state == image::digest(&machine.disk()) && other == image::digest(&machine.disk_node("sdb")));

    machine.change("sdb", |disk| disk.signature = Some("unknown data".to_owned()));
    // A file discards nothing.
    assert_eq!(wiped(&machine, consented), Erasure::SignaturesRemoved);
    assert_erased(&machine, &work);
    assert!(read(&machine, "sdb", 0, 64 << 20).iter().all(|byte| *byte == 0));
}

/// Carries out a reset that wipes one further disk.
fn wiped(machine: &MadeUp, consented: ResetPlan) -> Erasure {
    match ask(machine, &DiskRequest::Reset(Box::new(consented))) {
        DiskReply::Done { erased, .. } if erased.len() == 1 && erased[0].serial == "S2" => erased[0].erasure,
        other => panic!("{other:?}"),
    }
}

/// A disk with that table (as sfdisk has it) and an ext4 in each of the partitions that begin there, with these sizes.
fn with_file_systems(machine: &MadeUp, script: &str, partitions: &[(u64, u64)]) {
    let disk = machine.disk_node("sdb");
    let file = machine.folder().join("script");
    std::fs::write(&file, script).unwrap();
    stock("sh", &["-c", &format!("sfdisk --quiet {} < {}", disk.display(), file.display())]);
    for (start, size) in partitions {
        let part = Loop::over(&disk, *start, Some(*size));
        stock("mke2fs", &["-q", "-F", part.path().to_str().unwrap()]);
        // As RAID, LVM and ZFS mark the end.
        let raw = OpenOptions::new().write(true).open(&disk).unwrap();
        raw.write_all_at(&0xa92b_4efc_u32.to_le_bytes(), start + size - (64 << 10)).unwrap();
        raw.write_all_at(b"content", start + size / 2).unwrap();
    }
}

#[test]
fn no_file_system_of_a_wiped_disk_is_found_again_and_what_is_left_is_said() {
    const MIB: u64 = 1 << 20;
    let dos =
        "label: dos\nstart=2048, size=20480\nstart=22528, type=5\nstart=24576, size=20480\nstart=47104, size=20480\n";
    let dos_parts = [(MIB, 10 * MIB), (12 * MIB, 10 * MIB), (23 * MIB, 10 * MIB)];
    let gpt = "label: gpt\nstart=2048, size=20480\nstart=22528, size=40960\n";
    for (script, parts) in [(dos, &dos_parts[..]), (gpt, &[(MIB, 10 * MIB), (11 * MIB, 20 * MIB)])] {
        let (machine, work) = node();
        with_file_systems(&machine, script, parts);
        let disk = machine.disk_node("sdb");
        let signatures = |offset: u64, size: Option<u64>| {
            stock("wipefs", &["--noheadings", Loop::over(&disk, offset, size).path().to_str().unwrap()])
        };
        assert!(parts.iter().all(|(start, size)| signatures(*start, Some(*size)).contains("ext4")
            || signatures(*start, Some(*size)).contains("ext2")));
        let consented = plan(&machine, &["S2"]);
        assert_eq!(wiped(&machine, consented), Erasure::SignaturesRemoved);
        assert_erased(&machine, &work);
        assert_eq!(signatures(0, None), "");
        for (start, size) in parts {
            assert_eq!(signatures(*start, Some(*size)), "", "at {start}");
            for edge in [*start, start + size - MIB] {
                assert!(read(&machine, "sdb", edge, 1 << 20).iter().all(|byte| *byte == 0), "at {edge}");
            }
            // It is said, since it is so.
            assert_eq!(read(&machine, "sdb", start + size / 2, 7), b"content");
        }
    }
}

#[test]
fn a_disk_that_discards_is_erased() {
    let (machine, work) = node();
    let backing = machine.folder().join("backing");
    std::fs::rename(machine.disk_node("sdb"), &backing).unwrap();
    OpenOptions::new().write(true).open(&backing).unwrap().write_all_at(&[0xa5; 1 << 20], 30 << 20).unwrap();
    let device = Loop::over(&backing, 0, None);
    std::os::unix::fs::symlink(device.path(), machine.disk_node("sdb")).unwrap();
    let consented = plan(&machine, &["S2"]);
    assert_eq!(wiped(&machine, consented), Erasure::Discarded);
    assert_erased(&machine, &work);
    assert!(std::fs::read(&backing).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn another_nodes_plan_erases_nothing() {
    let (machine, work) = node();
    let consented = plan(&machine, &[]);
    assert!(matches!(ask(&machine, &DiskRequest::Reset(Box::new(consented.clone()))), DiskReply::Done { .. }));
    run(&machine, &image::work(&machine, InstallMode::StateOnly)).unwrap();
    let refused = why(ask(&machine, &DiskRequest::Reset(Box::new(consented))));
    assert!(refused.contains("is not the one that the plan was made for"), "{refused}");
    assert_eq!(mark(&machine, &work), None);
}

#[test]
fn a_reset_that_was_cut_off_is_finished_at_the_next_start() {
    let (mut cuts, mut marked) = (0, 0);
    for count in 1.. {
        let (machine, work) = node();
        let plan = plan(&machine, &["S2"]);
        if !cut_off(&machine, &plan, count) {
            assert_erased(&machine, &work);
            break;
        }
        cuts += 1;
        match mark(&machine, &work) {
            // It had not begun: a whole node, of which the same may be asked again.
            None => assert!(matches!(ask(&machine, &DiskRequest::Look), DiskReply::Done { disk: Some(_), .. })),
            Some(found) => {
                assert_eq!(found, Mark::Resets(plan.hash.clone()));
                marked += 1;
                ask(&machine, &DiskRequest::FinishReset);
                assert_erased(&machine, &work);
            }
        }
    }
    assert!(cuts >= 4 && marked >= 2, "{cuts} cuts, {marked} of them with a mark");
}

#[test]
fn whatever_a_cut_left_of_header_and_record_is_erased_too() {
    let (machine, work) = node();
    let (preboot, state) = (part(&work, "meadow-preboot").start, part(&work, "meadow-state").start);
    let hash = plan(&machine, &[]).hash;
    let disk = OpenOptions::new().read(true).write(true).open(machine.disk()).unwrap();
    let mut whole = vec![0; 16 << 20];
    disk.read_exact_at(&mut whole, state).unwrap();
    let record = read(&machine, "sda", preboot, AREA_BYTES);
    // From byte, bytes: one copy of the header, both, a part of one, the key slots; and half of the record.
    let torn: [(u64, usize); 6] = [
        (state, 4096),
        (state, 1 << 20),
        (state + 700, 512),
        (state + (1 << 20), 8 << 20),
        (preboot, 512),
        (preboot, 2 << 20),
    ];
    for (offset, length) in torn {
        disk.write_all_at(&whole, state).unwrap();
        disk.write_all_at(&record, preboot).unwrap();
        disk.write_all_at(&vec![0; length], offset).unwrap();
        disk.write_all_at(&Mark::Resets(hash.clone()).bytes(), preboot + AREA_BYTES as u64).unwrap();
        machine.restart_hard();
        assert!(matches!(ask(&machine, &DiskRequest::FinishReset), DiskReply::Done { disk: None, .. }));
        assert_erased(&machine, &work);
    }
    // A lost state is nobody's either, and no hindrance.
    disk.write_all_at(&record, preboot).unwrap();
    machine.restart_hard();
    for request in [DiskRequest::FinishReset, DiskRequest::Look] {
        assert!(matches!(ask(&machine, &request), DiskReply::Done { disk: None, .. }));
    }
    // Without a mark there is nothing to finish.
    disk.write_all_at(&whole, state).unwrap();
    disk.write_all_at(&record, preboot).unwrap();
    machine.restart_hard();
    assert!(matches!(ask(&machine, &DiskRequest::FinishReset), DiskReply::Done { disk: Some(_), .. }));
}
