//! Small images, and loop devices.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gptman::{GPT, GPTPartitionEntry};

pub(crate) const MIB: usize = 1 << 20;
/// Name, first MiB and MiBs of each partition; 19 MiB in all.
const PARTITIONS: [(&str, u64, u64); 4] =
    [("meadow-bios", 1, 1), ("meadow-esp", 2, 4), ("meadow-root-a", 6, 8), ("meadow-seed", 14, 4)];

/// Runs a stock program.
pub(crate) fn stock(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An image with the partitions of a stick, something in each but the seed, and holes between.
pub(crate) fn image(path: &Path) {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(19 * MIB as u64).unwrap();
    let mut table = GPT::new_from(&mut &file, 512, [7; 16]).unwrap();
    for ((name, start, size), number) in PARTITIONS.into_iter().zip(1..) {
        table[number] = GPTPartitionEntry {
            partition_type_guid: [number as u8; 16],
            unique_partition_guid: [0x10 + number as u8; 16],
            starting_lba: start * 2048,
            ending_lba: (start + size) * 2048 - 1,
            attribute_bits: 0,
            partition_name: name.into(),
        };
    }
    table.write_into(&mut &file).unwrap();
    GPT::write_protective_mbr_into(&mut &file, 512).unwrap();
    file.write_all_at(&[0xeb; 0x1b8], 0).unwrap();
    for at in [MIB, 2 * MIB + 5000, 6 * MIB, 9 * MIB + 123] {
        file.write_all_at(&[0x5a; 3000], at as u64).unwrap();
    }
}

pub(crate) fn random(path: &Path, bytes: usize) {
    let mut data = vec![0; bytes];
    File::open("/dev/urandom").unwrap().read_exact(&mut data).unwrap();
    fs::write(path, data).unwrap();
}

pub(crate) fn table(path: &Path) -> GPT {
    GPT::read_from(&mut File::open(path).unwrap(), 512).unwrap()
}

/// A loop device, detached when it is dropped.
pub(crate) struct Loop(PathBuf);

impl Loop {
    pub(crate) fn over(file: &Path, read_only: bool) -> Self {
        let only = if read_only { &["--read-only"][..] } else { &[] };
        let arguments: Vec<&str> = ["--find", "--show"].iter().chain(only).copied().chain(file.to_str()).collect();
        Self(PathBuf::from(stock("losetup", &arguments).trim()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn mount(&self, folder: &Path) -> Mount {
        let point = folder.join("mounted");
        fs::create_dir(&point).unwrap();
        stock("mount", &["-t", "ext4", self.0.to_str().unwrap(), point.to_str().unwrap()]);
        Mount(point)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        stock("losetup", &["--detach", self.0.to_str().unwrap()]);
    }
}

/// A mounted file system.
pub(crate) struct Mount(PathBuf);

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        stock("umount", &[self.0.to_str().unwrap()]);
    }
}
