use std::cell::RefCell;
use std::fs;

use super::*;

struct Rig {
    folder: tempfile::TempDir,
    store: ArtifactStore,
}

impl Rig {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rig = Self { store: ArtifactStore::new(folder.path().to_owned()), folder };
        rig.write_image("1", files);
        rig
    }

    fn write_image(&self, image: &str, files: &[(&str, &[u8])]) {
        let mut artifacts = serde_json::Map::new();
        for (name, bytes) in files {
            let path = self.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            let expected = expect(bytes);
            let value = serde_json::json!({ "size": expected.size, "sha256": expected.sha256 });
            artifacts.insert((*name).to_owned(), value);
        }
        let manifest = serde_json::json!({ "version": 1, "image": image, "artifacts": artifacts });
        fs::write(self.folder.path().join(MANIFEST), manifest.to_string()).unwrap();
    }

    /// Refreshes and gives the texts of the failures.
    fn refresh(&self) -> Vec<String> {
        let failures = RefCell::new(vec![]);
        self.store.refresh(&|kind| {
            if let EventKind::Failed { why, .. } = kind {
                failures.borrow_mut().push(why);
            }
        });
        failures.into_inner()
    }
}

const FILES: &[(&str, &[u8])] = &[("vmlinuz", b"kernel"), ("ipxe/ipxe.efi", b"loader")];

#[test]
fn nothing_is_served_before_its_check() {
    let rig = Rig::new(FILES);
    assert!(!rig.store.is_ready("vmlinuz"));
    assert!(rig.refresh().is_empty());
    assert!(rig.store.is_ready("vmlinuz") && rig.store.is_ready("ipxe/ipxe.efi") && rig.store.is_ready(MANIFEST));
    assert!(matches!(rig.store.lookup("other"), Lookup::Unknown));
}

#[test]
fn damaged_and_missing_files_are_named_and_the_rest_goes_on() {
    let rig = Rig::new(&[("a", b"one"), ("b", b"two"), ("c", b"six"), ("d", b"ten")]);
    fs::write(rig.folder.path().join("a"), b"ONE").unwrap();
    fs::write(rig.folder.path().join("b"), b"longer").unwrap();
    fs::remove_file(rig.folder.path().join("c")).unwrap();
    let failures = rig.refresh();
    assert_eq!(failures.len(), 3);
    for (failure, part) in failures.iter().zip(["SHA-256", "6 bytes instead of 3", "is missing"]) {
        assert!(failure.contains(part) && failure.contains("make image"), "{failure}");
    }
    assert!(rig.store.is_ready("d"));
    assert!(matches!(rig.store.lookup("a"), Lookup::Unavailable(_)));
}

#[test]
fn a_file_changed_later_is_not_served_until_it_is_whole_again() {
    let rig = Rig::new(FILES);
    rig.refresh();
    assert!(!rig.store.is_stale());
    fs::write(rig.folder.path().join("vmlinuz"), b"KERNEL").unwrap();
    assert!(!rig.store.is_ready("vmlinuz"), "before anybody looked again");
    assert!(rig.store.is_stale());
    assert_eq!(rig.refresh().len(), 1);
    assert!(!rig.store.is_stale(), "said once");
    fs::write(rig.folder.path().join("vmlinuz"), b"kernel").unwrap();
    assert!(rig.refresh().is_empty());
    assert!(rig.store.is_ready("vmlinuz"));
}

#[test]
fn a_new_image_takes_the_place_of_the_old() {
    let rig = Rig::new(FILES);
    rig.refresh();
    rig.write_image("2", &[("vmlinuz", b"newer kernel")]);
    assert!(rig.store.is_stale());
    rig.refresh();
    let Lookup::Ready(artifact) = rig.store.lookup("vmlinuz") else { panic!("not ready") };
    assert_eq!(artifact.size, 12);
    assert!(matches!(rig.store.lookup("ipxe/ipxe.efi"), Lookup::Unknown));
}

#[test]
fn without_a_manifest_it_says_what_to_do_and_recovers() {
    let rig = Rig::new(FILES);
    fs::remove_file(rig.folder.path().join(MANIFEST)).unwrap();
    let failures = rig.refresh();
    assert!(failures[0].contains("make image"), "{failures:?}");
    assert!(!rig.store.is_stale(), "said once");
    assert!(matches!(rig.store.lookup("vmlinuz"), Lookup::Unavailable(_)));
    rig.write_image("1", FILES);
    assert!(rig.store.is_stale());
    rig.refresh();
    assert!(rig.store.is_ready("vmlinuz"));
}
