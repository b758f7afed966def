//! A node whose system is damaged, started from elsewhere: all that boots is written anew, all that it is stays.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use meadow_disks::{Machine, serve};
use meadow_model::install::{BootSlot, DiskReply, DiskRequest, InstallMode, InstallWork};

use crate::image;
use crate::install::{assert_complete, run};
use crate::keys::{ask, why};
use crate::machine::MadeUp;
use crate::network::Folder;
use crate::stick::says;

fn installed() -> (MadeUp, InstallWork) {
    let machine = MadeUp::new(4 << 30);
    let work = image::work(&machine, InstallMode::System);
    run(&machine, &work).unwrap();
    (machine, work)
}

fn request(machine: &MadeUp) -> DiskRequest {
    DiskRequest::Reinstall { folder: image::make(machine, 1).display().to_string(), only_newer: true }
}

/// Both roots, the ESP and all boot code.
fn damage(machine: &MadeUp, work: &InstallWork) {
    let disk = OpenOptions::new().write(true).open(machine.disk()).unwrap();
    disk.write_all_at(&[0; 440], 0).unwrap();
    for part in &work.plan.partitions[..4] {
        disk.write_all_at(&vec![0xa5; 1 << 20], part.start).unwrap();
    }
    machine.restart_hard();
}

#[test]
fn a_damaged_system_is_written_anew_and_the_node_is_who_it_was() {
    let (machine, work) = installed();
    damage(&machine, &work);
    let DiskReply::Done { disk: Some(disk), .. } = ask(&machine, &DiskRequest::Look) else { panic!("no node") };
    assert!(disk.slots.is_empty() && disk.blessed.is_none() && disk.keys.len() == 2, "{disk:?}");
    let DiskReply::Done { disk: Some(disk), .. } = ask(&machine, &request(&machine)) else { panic!("not written") };
    assert_eq!(disk.blessed, Some(BootSlot::A));
    assert_complete(&machine, &work, None);
}

#[test]
fn an_older_image_needs_consent_and_what_the_disk_does_not_tell_keeps_nobody_from_mending_it() {
    let machine = MadeUp::new(4 << 30);
    let arch = std::env::consts::ARCH;
    let mut work = image::work(&machine, InstallMode::System);
    work.image = Some(says(&machine, "0.2.0", 7, arch).display().to_string());
    run(&machine, &work).unwrap();
    machine.restart_hard();
    let before = image::digest(&machine.disk());
    let order = |version: &str, only_newer| DiskRequest::Reinstall {
        folder: says(&machine, version, 7, arch).display().to_string(),
        only_newer,
    };
    let refused = why(ask(&machine, &order("0.1.0", true)));
    assert!(refused.contains("0.1.0 is older than 0.2.0") && refused.contains("--allow-older"), "{refused}");
    assert!(before == image::digest(&machine.disk()), "nothing was written");
    // The very same one mends a damaged disk.
    for (version, only_newer) in [("0.2.0", true), ("0.1.0", false), ("0.2.0", true)] {
        assert!(matches!(ask(&machine, &order(version, only_newer)), DiskReply::Done { .. }), "{version}");
    }
    damage(&machine, &work);
    assert!(matches!(ask(&machine, &order("0.1.0", true)), DiskReply::Done { .. }));
}

#[test]
fn power_may_fail_at_any_word_and_the_same_again_completes_it() {
    struct Cut;
    struct CutAt(usize);
    impl std::io::Write for CutAt {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 -= 1;
            if self.0 == 0 && !String::from_utf8_lossy(bytes).contains("\"done\"") {
                resume_unwind(Box::new(Cut));
            }
            self.0 = self.0.max(1);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (machine, work) = installed();
    damage(&machine, &work);
    let line = serde_json::to_vec(&request(&machine)).unwrap();
    let mut cuts = 0;
    // Between two of them nothing new begins.
    for count in (1..).step_by(5) {
        let cut = catch_unwind(AssertUnwindSafe(|| {
            serve(&machine, &Folder::nowhere(), &mut line.as_slice(), &mut CutAt(count), |_| Ok(Some(())))
        }));
        machine.restart_hard();
        let found = ask(&machine, &DiskRequest::Look);
        assert!(matches!(found, DiskReply::Done { disk: Some(_), .. }), "after cut {count}: {found:?}");
        if cut.is_ok() {
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 4, "{cuts} cuts");
    assert_complete(&machine, &work, None);
}

#[test]
fn what_runs_is_not_written_and_a_state_alone_has_no_system() {
    let (machine, _) = installed();
    machine.boots("S1", BootSlot::A);
    assert!(why(ask(&machine, &request(&machine))).contains("start this node over the network first"));
    drop(machine);
    let machine = MadeUp::new(2 << 30);
    run(&machine, &image::work(&machine, InstallMode::StateOnly)).unwrap();
    assert!(why(ask(&machine, &request(&machine))).contains("no system to write anew"));
    let _ = machine.disks();
}
