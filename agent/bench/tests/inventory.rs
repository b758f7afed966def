//! Whole inventories of machines written down under `testdata`: `NAME.tree` is what the machine tells, `NAME.json` what
//! is to be made of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use meadow_bench::inventory::{UdevProperties, UdevSource, device_within, read};
use meadow_model::MacAddress;

#[derive(Default)]
struct Machine {
    udev: BTreeMap<String, UdevProperties>,
    macs: BTreeMap<String, MacAddress>,
}

impl UdevSource for Machine {
    fn block_device(&self, name: &str) -> Option<UdevProperties> {
        self.udev.get(name).cloned()
    }
}

impl Machine {
    /// Lays the machine out below `root`.
    fn build(description: &str, root: &Path) -> Self {
        let mut machine = Self::default();
        for line in description.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, property)) = line.strip_prefix("udev ").and_then(|rest| rest.split_once(' ')) {
                let (key, value) = property.split_once('=').expect("KEY=value");
                machine.udev.entry(name.into()).or_default().insert(key.into(), value.into());
            } else if let Some((name, mac)) = line.strip_prefix("mac ").and_then(|rest| rest.split_once(' ')) {
                machine.macs.insert(name.into(), mac.parse().expect("MAC address"));
            } else if let Some((path, target)) = line.split_once(" -> ") {
                std::os::unix::fs::symlink(target, place(root, path)).expect("symlink");
            } else {
                let (path, contents) = line.split_once(" = ").expect("path = contents");
                fs::write(place(root, path), bytes(contents)).expect("file");
            }
        }
        machine
    }
}

fn place(root: &Path, path: &str) -> std::path::PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("below the root")).expect("folder");
    path
}

fn bytes(contents: &str) -> Vec<u8> {
    if let Some(digits) = contents.strip_prefix("hex: ") {
        return digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal"))
            .collect();
    }
    match contents.strip_prefix("zeros: ") {
        Some(size) => vec![0; size.parse().expect("size")],
        None => contents.replace("\\n", "\n").replace("\\t", "\t").into_bytes(),
    }
}

fn check(name: &str) {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let folder = tempfile::tempdir().expect("temporary folder");
    let description = fs::read_to_string(testdata.join(format!("{name}.tree"))).expect("description");
    let machine = Machine::build(&description, folder.path());
    let mut found = serde_json::to_value(read(folder.path(), &machine, &machine.macs)).expect("JSON");
    // What depends on the processor that the test runs on, not on the tree.
    if cfg!(not(target_arch = "x86_64")) && found["firmware"] == "unknown" {
        found["firmware"] = "bios".into();
    }
    let expected = fs::read_to_string(testdata.join(format!("{name}.json"))).expect("expected inventory");
    let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
    assert_eq!(found, expected, "found:\n{found:#}");
}

#[test]
fn a_small_pc_with_uefi() {
    check("minipc-uefi");
}

#[test]
fn a_virtual_machine_with_a_bios() {
    check("vm-bios");
}

#[test]
fn what_is_made_to_be_carried_about() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/minipc-uefi.tree");
    let machine = Machine::build(&fs::read_to_string(testdata).expect("description"), folder.path());
    let look = |name| device_within(folder.path(), name, &machine);
    let portable = |name| look(name).map(|found| found.portable);
    assert_eq!(portable("sdb"), Some(true), "a USB stick, although it says that it is not removable");
    for fixed in ["nvme0n1", "sda", "mmcblk0"] {
        assert_eq!(portable(fixed), Some(false), "{fixed}");
    }
    assert_eq!(look("nvme0n1").map(|found| found.disk.in_use.len()), Some(3));
    assert_eq!(look("sdz"), None);
}

#[test]
fn an_empty_machine_is_no_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let hardware = read(folder.path(), &Machine::default(), &BTreeMap::new());
    assert_eq!((hardware.disks.len(), hardware.nics.len(), hardware.memory_bytes), (0, 0, 0));
}
