//! Updates that are cut off at any write that the disk saw: the slot that runs stays whole, the other one is whole where
//! it counts as that, and the next update finds the room that the first one found.

use std::io::Read;
use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use meadow_disks::{GrubEnv, Machine, serve};
use meadow_model::install::{BootSlot, DiskReply, DiskRequest, InstallMode};
use meadow_power::WriteLog;
use rustix::process::{Signal, getpid, kill_process};

use crate::image;
use crate::install::run;
use crate::keys::ask;
use crate::machine::MadeUp;
use crate::network::Folder;
use crate::{ends, seeds, stock};

/// Cuts one after the other on the same disk.
const ROUNDS: u64 = 20;
/// What the process that is killed is told.
const FOLDER: &str = "MEADOW_TEST_FOLDER";
const WORD: &str = "MEADOW_TEST_WORD";
const FILES: [&str; 4] = ["vmlinuz", "initrd", "uki.efi", "uki.efi.sig"];

fn installed() -> MadeUp {
    let machine = MadeUp::new(4 << 30);
    run(&machine, &image::work(&machine, InstallMode::System)).unwrap();
    machine.boots("S1", BootSlot::A);
    machine.restart_hard();
    machine
}

/// Writes an image of that version into slot b.
fn update(machine: &MadeUp, version: u8) -> DiskReply {
    let folder = image::make(machine, version).display().to_string();
    ask(machine, &DiskRequest::WriteImage { folder, only_newer: false })
}

fn esp(machine: &MadeUp) -> fatfs::FileSystem<fs::File> {
    let device = machine.partition_node("sda", &image::plan_of(machine, "meadow-esp"));
    fatfs::FileSystem::new(fs::File::open(device).unwrap(), fatfs::FsOptions::new()).unwrap()
}

fn file(machine: &MadeUp, name: &str) -> Option<Vec<u8>> {
    let system = esp(machine);
    let mut bytes = Vec::new();
    system.root_dir().open_file(name).ok()?.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn root(machine: &MadeUp, name: &str) -> Vec<u8> {
    let device = machine.partition_node("sda", &image::plan_of(machine, name));
    let mut bytes = vec![0; image::artifact("root.img", 1).len()];
    fs::File::open(device).unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

/// Says what is wrong with the disk that a cut left of an update to one of these versions.
fn judge(machine: &MadeUp, versions: &[u8]) -> Result<(), String> {
    let holds = |slot: &str, version: u8| {
        let files = FILES
            .iter()
            .all(|name| file(machine, &format!("meadow/{slot}/{name}")) == Some(image::artifact(name, version)));
        files && root(machine, &format!("meadow-root-{slot}")) == image::artifact("root.img", version)
    };
    if !holds("a", 1) {
        return Err("the slot that runs is not whole any more".to_owned());
    }
    let environment = file(machine, "meadow/grubenv").ok_or("the boot loader's state is gone")?;
    if GrubEnv::parse(&environment) != Ok(GrubEnv::blessing(BootSlot::A)) {
        return Err(format!("the boot loader's state is {environment:?}"));
    }
    let counts = catch_unwind(AssertUnwindSafe(|| file(machine, "meadow/b/root.json")));
    let counts = counts.ok().flatten().is_some_and(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    if counts && !versions.iter().any(|version| holds("b", *version)) {
        return Err("the slot that was written counts as whole and is not".to_owned());
    }
    Ok(())
}

/// Clusters that are free, counted by a stock check, which has to find no fault.
fn free(machine: &MadeUp) -> u64 {
    let device = machine.partition_node("sda", &image::plan_of(machine, "meadow-esp"));
    let said = stock("fsck.vfat", &["-n", device.to_str().unwrap()]);
    let used = said.lines().find_map(|line| line.rsplit_once(", ")?.1.strip_suffix(" clusters")).unwrap();
    let (used, all) = used.split_once('/').unwrap();
    all.parse::<u64>().unwrap() - used.parse::<u64>().unwrap()
}

/// The same again brings it to its end, in the same room as ever.
fn complete(machine: &MadeUp, version: u8, room: u64) {
    let done = update(machine, version);
    assert!(matches!(done, DiskReply::Done { .. }), "{done:?}");
    machine.restart_hard();
    judge(machine, &[version]).unwrap();
    assert!(file(machine, "meadow/b/root.json").is_some());
    assert_eq!(free(machine), room);
    machine.restart_hard();
}

/// A node with version 2 in slot b, how much is free on its ESP then, and the update of that to version 3.
fn recorded() -> (MadeUp, u64, WriteLog) {
    let machine = installed();
    assert!(matches!(update(&machine, 2), DiskReply::Done { .. }));
    let room = free(&machine);
    let (done, log) = machine.record(|| update(&machine, 3));
    assert!(matches!(done, DiskReply::Done { .. }));
    (machine, room, log)
}

#[test]
fn an_update_survives_a_cut_at_any_write() {
    let (machine, room, log) = recorded();
    println!("{} writes, {} flushes", log.len(), log.flushes().len());
    for end in ends(log.len()) {
        machine.restart_hard();
        log.replay(&machine.base(), &machine.disk(), end, |_| false).unwrap();
        judge(&machine, &[2, 3])
            .unwrap_or_else(|why| panic!("after {end} of {} writes: {why}; {}", log.len(), machine.keep()));
        complete(&machine, 3, room);
    }
}

#[test]
fn an_update_survives_the_loss_of_what_was_not_flushed() {
    let (machine, room, log) = recorded();
    for seed in seeds() {
        machine.restart_hard();
        let said = log.cut_power(&machine.base(), &machine.disk(), seed).unwrap();
        judge(&machine, &[2, 3]).unwrap_or_else(|why| panic!("{said}: {why}; {}", machine.keep()));
        complete(&machine, 3, room);
    }
}

#[test]
fn updates_that_are_cut_off_again_and_again_leave_no_room_behind() {
    let (machine, room, _) = recorded();
    for round in 1..=ROUNDS {
        let version = if round % 2 == 0 { 3 } else { 2 };
        let (done, log) = machine.record(|| update(&machine, version));
        assert!(matches!(done, DiskReply::Done { .. }), "round {round}: {done:?}");
        let said = log.cut_power(&machine.base(), &machine.disk(), round).unwrap();
        judge(&machine, &[2, 3]).unwrap_or_else(|why| panic!("round {round}, {said}: {why}"));
    }
    complete(&machine, 3, room);
}

/// Where the helper dies: as it says what it does next.
struct Dies(usize);

impl std::io::Write for Dies {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 -= 1;
        if self.0 == 0 {
            // Nothing of this process runs any more: no destructor, no last write.
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
#[ignore = "the process that `a_helper_that_is_killed_leaves_no_room_behind` kills"]
fn killed_helper() {
    let (Ok(folder), Ok(word)) = (env::var(FOLDER), env::var(WORD)) else { return };
    let machine = MadeUp::of(Path::new(&folder));
    machine.boots("S1", BootSlot::A);
    let folder = image::make(&machine, 3).display().to_string();
    let line = serde_json::to_vec(&DiskRequest::WriteImage { folder, only_newer: false }).unwrap();
    let mut dies = Dies(word.parse().unwrap());
    serve(&machine, &Folder::nowhere(), &mut line.as_slice(), &mut dies, |_| Ok(Some(())));
    machine.restart_hard();
}

#[test]
fn a_helper_that_is_killed_leaves_no_room_behind() {
    let (machine, room, _) = recorded();
    let mut killed = 0;
    for word in 1.. {
        machine.restart_hard();
        let helper = Command::new(env::current_exe().unwrap())
            .args(["--exact", "update_cuts::killed_helper", "--ignored", "--quiet"])
            .env(FOLDER, machine.folder())
            .env(WORD, word.to_string())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        machine.detach_left_behind();
        judge(&machine, &[2, 3]).unwrap_or_else(|why| panic!("killed at word {word}: {why}"));
        if helper.signal().is_none() {
            assert!(helper.success());
            break;
        }
        killed += 1;
    }
    println!("killed {killed} times on the same disk");
    assert!(killed > 8, "{killed}");
    machine.restart_hard();
    assert_eq!(free(&machine), room);
    complete(&machine, 2, room);
}

/// One flush decides alone: the slot's files are there before `root.json`, which makes the slot count.
///
/// Those of the sweep decide together: `root.json` is gone before the root is overwritten. One of them alone does not, since
/// its next one comes before the root too: the first only brings forward that `root.json` goes, with the folder that is
/// emptied, and the last ones are for the table, which the next update sets right. The root's own flush is followed by that of
/// the files, before `root.json`. Behind that there is nothing but how much is free.
#[test]
fn an_update_without_one_of_its_flushes_would_not_survive() {
    let (machine, _, log) = recorded();
    let flushes = log.flushes();
    let lost = |range: &RangeInclusive<usize>| {
        machine.restart_hard();
        let cut = log.without_flushes(&machine.base(), &machine.disk(), range).unwrap();
        cut.and_then(|()| judge(&machine, &[2, 3]).err())
    };
    let found: Vec<usize> = flushes.iter().copied().filter(|flush| lost(&(*flush..=*flush)).is_some()).collect();
    println!("{} of {} flushes are needed: {found:?}", found.len(), flushes.len());
    let slot = image::plan_of(&machine, "meadow-root-b");
    let root = log.writes_to(&(slot.start..slot.start + slot.size))[0];
    let (sweep, rest) = flushes.split_at(flushes.partition_point(|flush| *flush < root));
    let &[_root, files, _root_json, _closed] = rest else { panic!("{flushes:?}, the root is written at {root}") };
    assert_eq!(found, [files], "of {flushes:?}");

    let swept = sweep[0]..=sweep[sweep.len() - 1];
    assert!(
        lost(&swept).is_some(),
        "nobody notices a new root below the old `root.json` without the flushes {swept:?}"
    );
}
