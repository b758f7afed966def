//! A small image, and what is asked for.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use meadow_disks::Machine;
use meadow_model::hardware::Hardware;
use meadow_model::install::{InstallMode, InstallPlan, InstallWork};
use meadow_model::{Fingerprint, Name, Secret};
use meadow_plan::install;
use rustix::fs::SeekFrom;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::machine::MadeUp;

const ARTIFACTS: [&str; 9] = [
    "vmlinuz",
    "initrd",
    "uki.efi",
    "uki.efi.sig",
    "root.img",
    "grub/boot.img",
    "grub/core.img",
    "grub/bootx64.efi",
    "secureboot.cer",
];
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// Bytes that look like a file of that name in an image of that version.
pub(crate) fn artifact(name: &str, version: u8) -> Vec<u8> {
    let length = match name {
        "root.img" => (3 << 20) + 4096,
        "vmlinuz" | "initrd" | "uki.efi" => 700_001,
        _ => 5000,
    };
    let seed = Sha256::digest(format!("{name} {version}"));
    let mut bytes: Vec<u8> = seed.iter().copied().cycle().take(length).collect();
    match name {
        "grub/boot.img" => {
            bytes.truncate(512);
            bytes[0x66..0x68].copy_from_slice(&[0xeb, 0x05]);
            bytes[510..].copy_from_slice(&[0x55, 0xaa]);
        }
        "grub/core.img" => bytes[0x1fc..0x200].copy_from_slice(&[9, 0, 0x20, 8]),
        _ => {}
    }
    bytes
}

/// What tells an image of that version from others.
pub(crate) fn manifest_digest(version: u8) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(manifest(version).to_string()))
}

fn manifest(version: u8) -> serde_json::Value {
    let artifact = |name: &&str| {
        let bytes = artifact(name, version);
        let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        ((*name).to_owned(), json!({"size": bytes.len(), "sha256": sha256}))
    };
    let artifacts: serde_json::Map<_, _> = ARTIFACTS.iter().map(artifact).collect();
    let root = json!({"data_size": 3 << 20, "root_hash": "aa", "salt": "bb"});
    json!({"version": 1, "image": format!("0.{version}"), "artifacts": artifacts, "root": root})
}

/// Lays an image of that version into a folder.
pub(crate) fn make(machine: &MadeUp, version: u8) -> PathBuf {
    let folder = machine.folder().join(format!("image-{version}"));
    fs::create_dir_all(folder.join("grub")).unwrap();
    for name in ARTIFACTS {
        fs::write(folder.join(name), artifact(name, version)).unwrap();
    }
    fs::write(folder.join("manifest.json"), manifest(version).to_string()).unwrap();
    folder
}

/// The state of a netbooted node.
pub(crate) fn state(machine: &MadeUp) -> PathBuf {
    let folder = machine.folder().join("state");
    fs::create_dir_all(folder.join("identity")).unwrap();
    fs::write(folder.join("identity/node.key"), "the node's key").unwrap();
    fs::set_permissions(folder.join("identity/node.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

pub(crate) fn plan(machine: &MadeUp, mode: InstallMode) -> InstallPlan {
    let hardware = Hardware { disks: machine.disks(), ..Hardware::default() };
    install::plan(&Name::new("node-1").unwrap(), &hardware, "S1", mode).unwrap()
}

pub(crate) fn work(machine: &MadeUp, mode: InstallMode) -> InstallWork {
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    InstallWork {
        plan: plan(machine, mode),
        passphrase: Secret::new(PASSPHRASE.to_owned()),
        image: (mode == InstallMode::System).then(|| text(make(machine, 1))),
        state_from: text(state(machine)),
        authorized_keys: vec!["ssh-ed25519 AAAA admin".to_owned()],
        cluster: "home".to_owned(),
        ca_fingerprint: "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse::<Fingerprint>().unwrap(),
        network: Vec::new(),
    }
}

/// Digest of what was ever written to a sparse file, and where.
pub(crate) fn digest(disk: &Path) -> Vec<u8> {
    let (file, mut hash, mut end) = (fs::File::open(disk).unwrap(), Sha256::new(), 0);
    while let Ok(start) = rustix::fs::seek(&file, SeekFrom::Data(end)) {
        end = rustix::fs::seek(&file, SeekFrom::Hole(start)).unwrap();
        hash.update(start.to_le_bytes());
        rustix::fs::seek(&file, SeekFrom::Start(start)).unwrap();
        std::io::copy(&mut (&file).take(end - start), &mut hash).unwrap();
    }
    hash.finalize().to_vec()
}

/// A partition of an installed disk.
pub(crate) fn plan_of(machine: &MadeUp, name: &str) -> meadow_model::install::Partition {
    let found = plan(machine, InstallMode::System).partitions;
    found.into_iter().find(|part| part.name == name).unwrap()
}
