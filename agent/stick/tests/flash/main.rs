//! Images, sticks and files that are really written: files and loop devices.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;

use meadow_model::Secret;
use meadow_model::seed::Seed;
use meadow_plan::flash::{self, FlashRefusal, TargetKind};
use meadow_stick::{Flash, SeedArea, StickError, StickImage, look};
use support::{Loop, MIB, image, random, table};

fn seed() -> Seed {
    let token = Some(Secret::new("meadow-join.t-1.abc.def".to_owned()));
    Seed { token, api: vec!["https://192.0.2.2:7443".to_owned()], ..Seed::new() }
}

fn flash(image: &Path, to: &Path, seed: Option<&Seed>) -> Result<Vec<(String, u8)>, StickError> {
    let (image, target) = (StickImage::open(image)?, look(to)?);
    let mut heard = Vec::new();
    let progress = &mut |step: &str, percent: u8| heard.push((step.to_owned(), percent));
    Flash { image: &image, target: &target, seed }.run(progress).map(|()| heard)
}

/// All partitions but the seed are as in the image, whatever was there before.
fn assert_same_body(image: &Path, stick: &Path) {
    let (image, stick) = (fs::read(image).unwrap(), fs::read(stick).unwrap());
    let (from, to) = (MIB, 14 * MIB);
    assert!(image[from..to] == stick[from..to], "the partitions differ");
    assert_eq!(image[..0x1b8], stick[..0x1b8], "the boot code");
    assert_eq!(stick[510..512], [0x55, 0xaa]);
}

#[test]
fn a_new_file_is_the_image_with_names_and_a_seed_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (source, stick, other) =
        (folder.path().join("stick.img"), folder.path().join("a.img"), folder.path().join("b.img"));
    image(&source);
    let heard = flash(&source, &stick, Some(&seed())).unwrap();
    assert!(heard.iter().any(|(step, _)| step == "writes") && heard.last().unwrap().1 == 100, "{heard:?}");
    assert_same_body(&source, &stick);
    assert_eq!(fs::metadata(&stick).unwrap().permissions().mode() & 0o777, 0o600, "a token is in it");
    assert_eq!(SeedArea::open_to_read(&stick).unwrap().read().unwrap(), Some(seed()));
    flash(&source, &other, None).unwrap();
    assert_eq!(SeedArea::open_to_read(&other).unwrap().read().unwrap(), None);
    let (first, second) = (table(&stick), table(&other));
    assert_ne!(first.header.disk_guid, second.header.disk_guid);
    assert_ne!(first[2].unique_partition_guid, second[2].unique_partition_guid);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "no leftovers");
}

#[test]
fn old_data_between_the_new_is_gone_and_the_backup_is_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (source, disk) = (folder.path().join("stick.img"), folder.path().join("disk"));
    image(&source);
    random(&disk, 40 * MIB);
    let target = look(&disk).unwrap();
    assert_eq!((target.kind, target.disk.signature.as_deref()), (TargetKind::File, Some("unknown data")));
    flash(&source, &disk, None).unwrap();
    assert_same_body(&source, &disk);
    let bytes = fs::read(&disk).unwrap();
    assert_eq!(bytes.len(), 40 * MIB);
    assert!(bytes[14 * MIB..18 * MIB].iter().all(|byte| *byte == 0), "an old seed would be taken for this one's");
    assert_eq!(&bytes[40 * MIB - 512..40 * MIB - 504], b"EFI PART");
    assert_eq!(table(&disk).header.backup_lba, 40 * 2048 - 1);
    // Once more, with a seed that is not there any more afterwards.
    flash(&source, &disk, Some(&seed())).unwrap();
    flash(&source, &disk, None).unwrap();
    assert_eq!(SeedArea::open_to_read(&disk).unwrap().read().unwrap(), None);
    assert!(!fs::read(&disk).unwrap().windows(11).any(|part| part == b"meadow-join"));
}

#[test]
fn a_stick_that_is_cut_off_boots_nowhere_and_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (source, disk) = (folder.path().join("stick.img"), folder.path().join("disk"));
    image(&source);
    random(&disk, 24 * MIB);
    flash(&source, &disk, Some(&seed())).unwrap();
    let steps = flash(&source, &disk, Some(&seed())).unwrap().len();
    for cut in [0, 1, steps / 2, steps - 1] {
        let (source, target) = (StickImage::open(&source).unwrap(), look(&disk).unwrap());
        let mut left = cut;
        // Whatever ends the program ends it between two writes.
        let cut_off = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let progress = &mut |_: &str, _: u8| left = left.checked_sub(1).expect("cut off");
            Flash { image: &source, target: &target, seed: None }.run(progress)
        }));
        assert!(cut_off.is_err());
        let bytes = fs::read(&disk).unwrap();
        assert!(bytes[..MIB].iter().chain(&bytes[23 * MIB..]).all(|byte| *byte == 0), "neither table nor boot code");
    }
    flash(&source, &disk, None).unwrap();
    assert_same_body(&source, &disk);
}

#[test]
fn a_device_is_written_and_refused_while_it_is_mounted() {
    let folder = tempfile::tempdir().unwrap();
    let (source, disk) = (folder.path().join("stick.img"), folder.path().join("disk"));
    image(&source);
    random(&disk, 24 * MIB);
    let device = Loop::over(&disk, false);
    let target = look(device.path()).unwrap();
    assert_eq!(target.kind, TargetKind::Fixed);
    let bytes = StickImage::open(&source).unwrap().size();
    assert!(matches!(flash::plan(&target, bytes, false), Err(FlashRefusal::Fixed(_))));
    assert!(!flash::plan(&target, bytes, true).unwrap().loses.is_empty());
    flash(&source, device.path(), Some(&seed())).unwrap();
    assert_same_body(&source, device.path());

    support::stock("mke2fs", &["-q", "-F", device.path().to_str().unwrap()]);
    let mounted = device.mount(folder.path());
    let target = look(device.path()).unwrap();
    assert!(
        matches!(flash::plan(&target, bytes, true), Err(FlashRefusal::InUse { by, .. }) if by.contains(&mounted.to_string()))
    );
    // Whoever looked a moment before is refused by the kernel.
    let before = fs::read(&disk).unwrap();
    assert!(matches!(flash(&source, device.path(), None), Err(StickError::Io { .. })));
    drop(mounted);
    assert!(fs::read(&disk).unwrap().len() == before.len());
    // The file beneath is in use as long as the device is there.
    assert!(matches!(flash::plan(&look(&disk).unwrap(), bytes, true), Err(FlashRefusal::InUse { .. })));
}

#[test]
fn what_is_no_target_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (source, disk) = (folder.path().join("stick.img"), folder.path().join("disk"));
    image(&source);
    random(&disk, MIB);
    let bytes = StickImage::open(&source).unwrap().size();
    assert!(matches!(flash::plan(&look(&disk).unwrap(), bytes, false), Err(FlashRefusal::TooSmall { .. })));
    let read_only = Loop::over(&disk, true);
    assert!(matches!(flash::plan(&look(read_only.path()).unwrap(), bytes, true), Err(FlashRefusal::ReadOnly(_))));
    assert!(matches!(look(folder.path()), Err(StickError::NoTarget(_))));
    assert!(matches!(look(Path::new("/dev/null")), Err(StickError::NoTarget(_))));
    assert!(matches!(look(Path::new("/dev/no-such-stick")), Err(StickError::Io { .. })));
    fs::hard_link(&disk, folder.path().join("link")).unwrap();
    assert!(matches!(look(&disk), Err(StickError::Shared(_))));
    assert!(matches!(flash(&source, &source, None), Err(StickError::SameFile(_))));
}

#[test]
fn a_seed_on_a_stick_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (source, stick) = (folder.path().join("stick.img"), folder.path().join("a.img"));
    image(&source);
    flash(&source, &stick, Some(&seed())).unwrap();
    let device = Loop::over(&stick, true);
    assert_eq!(SeedArea::open_to_read(device.path()).unwrap().read().unwrap(), Some(seed()));
    let why = SeedArea::open(device.path()).and_then(|area| area.write(None)).unwrap_err().to_string();
    assert!(why.contains("read-only: look for a write-protect switch"), "{why}");
}

#[test]
fn what_somebody_put_where_a_new_file_is_written_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (source, stick, victim) =
        (folder.path().join("stick.img"), folder.path().join("a.img"), folder.path().join("victim"));
    let fresh = folder.path().join(".a.img.new");
    image(&source);
    fs::write(&victim, "precious").unwrap();
    let plants: [&dyn Fn(); 4] = [
        &|| symlink(&victim, &fresh).unwrap(),
        &|| symlink(folder.path().join("not there"), &fresh).unwrap(),
        &|| fs::hard_link(&victim, &fresh).unwrap(),
        &|| {
            fs::write(&fresh, "somebody else's").unwrap();
            chown(&fresh, Some(65534), None).unwrap();
        },
    ];
    for plant in plants {
        plant();
        assert!(matches!(flash(&source, &stick, None), Err(StickError::Planted(_))));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!stick.exists() && !folder.path().join("not there").exists());
        fs::remove_file(&fresh).unwrap();
    }
    // What a run left that was killed is taken, unless another one is at it.
    fs::write(&fresh, "the beginning of an image").unwrap();
    let other = File::open(&fresh).unwrap();
    other.lock().unwrap();
    assert!(matches!(flash(&source, &stick, None), Err(StickError::Io { .. })));
    drop(other);
    flash(&source, &stick, None).unwrap();
    assert_same_body(&source, &stick);
    assert!(!fresh.exists());
}

#[test]
fn what_is_no_image_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stick.img");
    random(&path, MIB);
    assert!(matches!(StickImage::open(&path), Err(StickError::NoImage { .. })));
    image(&path);
    File::options().write(true).open(&path).unwrap().set_len(10 * MIB as u64).unwrap();
    assert!(matches!(StickImage::open(&path), Err(StickError::NoImage { .. })));
}

#[test]
fn a_seed_is_replaced_and_nothing_of_the_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (source, stick) = (folder.path().join("stick.img"), folder.path().join("a.img"));
    image(&source);
    flash(&source, &stick, Some(&seed())).unwrap();
    let newer = Seed { token: Some(Secret::new("meadow-join.t-2.ghi.jkl".to_owned())), ..seed() };
    let area = SeedArea::open(&stick).unwrap();
    area.write(Some(&newer)).unwrap();
    assert_eq!(area.read().unwrap(), Some(newer));
    let found = |text: &[u8]| fs::read(&stick).unwrap().windows(text.len()).any(|part| part == text);
    assert!(found(b"meadow-join.t-2") && !found(b"meadow-join.t-1"));
    area.write(None).unwrap();
    assert!(!found(b"meadow-join"));
    // A stick whose first table is damaged still tells where its seed is.
    File::options().write(true).open(&stick).unwrap().write_all_at(&[0; 512], 512).unwrap();
    assert_eq!(SeedArea::open_to_read(&stick).unwrap().read().unwrap(), None);
    assert!(matches!(SeedArea::open(&folder.path().join("none")), Err(StickError::Io { .. })));
}
