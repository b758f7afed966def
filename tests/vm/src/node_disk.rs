//! The disk of a node, made on the host: the stick's image, which every firmware boots, and behind it a record and an
//! encrypted state. The host's kernel need not know dm-crypt.

mod xts;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use meadow_luks::{Key, NewSlot, Volume};
use meadow_model::install::KeyKind;
use meadow_model::preboot::{HostKey, Preboot, StaticNetwork, VERSION};
use meadow_model::{Fingerprint, Name, Secret, record};
use meadow_rack::{Machine, Rack, paths};

use crate::Admin;
use crate::esp::Esp;
use crate::sealer::Sealer;

const MIB: u64 = 1 << 20;
const PREBOOT_MIB: u64 = 16;
/// With 16 MiB of header in it.
const STATE_MIB: u64 = 144;
const HEADER_MIB: u64 = 16;
/// Bytes of the state's partition before its file system.
pub const HEADER_BYTES: u64 = HEADER_MIB * MIB;
const ROOT_TYPE: &str = "6d656164-6f77-4f53-8001-000000000001";
const UUID: &str = "0f9c7a1e-5d0c-4a59-9d9e-4c5d6a1f2b3c";
const TYPES: [&str; 2] = ["6d656164-6f77-4f53-8001-000000000002", "6d656164-6f77-4f53-8001-000000000003"];

/// Who lives on the disk.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The node.
    pub node: Name,
    /// Who may unlock it.
    pub authorized_keys: Vec<String>,
    /// Its fixed addresses, if it has any.
    pub network: Vec<StaticNetwork>,
    /// What opens it.
    pub passphrase: String,
}

/// What a person would know of it.
#[derive(Clone, Debug)]
pub struct Made {
    /// `SHA256:…` of its host key in the initramfs.
    pub fingerprint: String,
    /// What opens it too.
    pub recovery_key: String,
    /// First byte of the root.
    pub root: u64,
    /// First byte of the state.
    pub state: u64,
}

/// Writes it all over the disk of a machine, which becomes the node of its name; `admin` may unlock it.
///
/// # Errors
/// As of [`write()`].
pub fn of_machine(rack: &Rack, machine: &Machine, admin: &Admin, passphrase: &str) -> Result<Made> {
    let folder = rack.run().file(format!("{}.parts", machine.name()));
    fs::create_dir(&folder)?;
    let wanted = Wanted {
        node: machine.name().parse()?,
        authorized_keys: vec![admin.public_key()?],
        network: Vec::new(),
        passphrase: passphrase.to_owned(),
    };
    write(&machine.hardware().disk, &folder, &wanted)
}

/// Writes it all over `disk`, with files of its own in `folder`.
///
/// # Errors
/// When a tool is missing, or there is no image.
pub fn write(disk: &Path, folder: &Path, wanted: &Wanted) -> Result<Made> {
    write_with(disk, folder, wanted, None)
}

/// As [`write()`], with a key slot and a host key that a TPM keeps.
///
/// # Errors
/// As of [`write()`]; when the TPM does not seal.
pub fn write_with(disk: &Path, folder: &Path, wanted: &Wanted, mut tpm: Option<&mut Sealer>) -> Result<Made> {
    copy_stick(disk)?;
    let table = format!(
        "size={}, type={}, name=meadow-preboot\nsize={}, type={}, name=meadow-state\n",
        PREBOOT_MIB * 2048,
        TYPES[0],
        STATE_MIB * 2048,
        TYPES[1]
    );
    append(disk, &table)?;
    let partitions = partitions(disk)?;
    let start = |name: &str| partitions.iter().find(|(found, ..)| found == name).map(|(_, start, _)| *start);
    let [root, preboot, state] = ["meadow-root-a", "meadow-preboot", "meadow-state"].map(start);
    let (root, preboot, state) = root.zip(preboot).zip(state).map(|((a, b), c)| (a, b, c)).context("no partitions")?;

    let target = File::options().write(true).open(disk)?;
    let (host_key, fingerprint) = host_key(folder, tpm.as_deref_mut())?;
    target.write_all_at(&record_of(wanted, host_key)?, preboot)?;
    let (volume, recovery_key) = volume(folder, &wanted.passphrase, tpm)?;
    let mut bytes = Vec::new();
    File::open(volume)?.read_to_end(&mut bytes)?;
    target.write_all_at(&bytes, state)?;
    Ok(Made { fingerprint, recovery_key, root, state })
}

/// Writes the stick's image over the start of `disk`, and its second table where that ends.
///
/// # Errors
/// When a tool is missing, or there is no image.
pub fn copy_stick(disk: &Path) -> Result<()> {
    let stick = paths::image().join("stick.img");
    // Sparse as it is; the rack's disk is larger than the stick.
    run(Command::new("dd")
        .args(["bs=1M", "conv=notrunc,sparse", "status=none"])
        .args([arg("if", &stick), arg("of", disk)]))
    .with_context(|| format!("{} cannot be copied; `make image` makes it", stick.display()))?;
    run(Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel", "--relocate", "gpt-bak-std"])
        .arg(disk))
}

/// Adds partitions, in the language of sfdisk(8).
///
/// # Errors
/// When there is no room for them.
pub fn append(disk: &Path, table: &str) -> Result<()> {
    let append = ["--quiet", "--append", "--no-reread", "--no-tell-kernel"];
    feed(Command::new("sfdisk").args(append).arg(disk), table.as_bytes())
}

/// Names, first bytes and sizes of the partitions.
///
/// # Errors
/// When the disk has no table.
pub fn partitions(disk: &Path) -> Result<Vec<(String, u64, u64)>> {
    let output = Command::new("sfdisk").arg("--json").arg(disk).output()?;
    let table: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let partitions = table["partitiontable"]["partitions"].as_array().context("no partitions")?;
    let read = |part: &serde_json::Value| {
        Some((part["name"].as_str()?.to_owned(), part["start"].as_u64()? * 512, part["size"].as_u64()? * 512))
    };
    Ok(partitions.iter().filter_map(read).collect())
}

fn record_of(wanted: &Wanted, host_key: HostKey) -> Result<Vec<u8>> {
    let preboot = Preboot {
        version: VERSION,
        node: wanted.node.clone(),
        cluster: "test".to_owned(),
        ca_fingerprint: Fingerprint::of_public_key(b""),
        luks_uuid: UUID.to_owned(),
        installed: true,
        authorized_keys: wanted.authorized_keys.clone(),
        network: wanted.network.clone(),
        host_key,
    };
    let write = record::replace(&vec![0; record::AREA_BYTES], &serde_json::to_vec(&preboot)?)?;
    ensure!(write.offset == 0, "an empty area begins with its first slot");
    Ok(write.bytes)
}

/// By Dropbear's own tool, which nobody here wrote.
fn host_key(folder: &Path, tpm: Option<&mut Sealer>) -> Result<(HostKey, String)> {
    let file = folder.join("host-key");
    let made = Command::new("dropbearkey").args(["-t", "ed25519", "-f"]).arg(&file).output();
    let told = String::from_utf8(made.context("cannot run dropbearkey; see tests/packages/test.list")?.stdout)?;
    let fingerprint = told.split_whitespace().find(|word| word.starts_with("SHA256:")).context("no fingerprint")?;
    let (bytes, fingerprint) = (fs::read(file)?, fingerprint.to_owned());
    let kept = match tpm {
        Some(tpm) => {
            let blob = BASE64.encode(&serde_json::to_vec(&tpm.seal_host_key(&bytes)?)?);
            HostKey::Sealed { blob, fingerprint: fingerprint.clone() }
        }
        None => HostKey::Plain { key: Secret::new(BASE64.encode(&bytes)), fingerprint: fingerprint.clone() },
    };
    Ok((kept, fingerprint))
}

/// A LUKS2 volume with an ext4 in it, as a file; and its recovery key.
fn volume(folder: &Path, passphrase: &str, tpm: Option<&mut Sealer>) -> Result<(PathBuf, String)> {
    let (file, plain) = (folder.join("state"), folder.join("ext4"));
    File::create(&file)?.set_len(STATE_MIB * MIB)?;
    let (mut volume, key) = Volume::format(&file, Some(UUID.parse()?))?;
    volume.add(&key, &Key::new_passphrase(passphrase)?, NewSlot { label: "first", ..NewSlot::default() })?;
    let recovery = volume.add_recovery(&key, None)?.text().to_string();
    if let Some(tpm) = tpm {
        let secret = b"32 bytes, as random as they seem".to_vec();
        let sealed = serde_json::to_value(tpm.seal_key(&secret)?)?;
        let extra = [("tpm2".to_owned(), sealed)].into_iter().collect();
        let machine = Key::of_machine(KeyKind::Tpm2, secret.into());
        volume.add(&key, &machine, NewSlot { label: "TPM", extra, ..NewSlot::default() })?;
    }
    drop(volume);

    File::create(&plain)?.set_len((STATE_MIB - HEADER_MIB) * MIB)?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-b", "4096"]).arg(&plain))?;
    let dump = folder.join("volume-key");
    let options = ["luksDump", "--batch-mode", "--dump-volume-key", "--key-file", "-", "--volume-key-file"];
    feed(Command::new("cryptsetup").args(options).args([&dump, &file]).stdout(Stdio::null()), recovery.as_bytes())?;
    let mut data = fs::read(plain)?;
    xts::encrypt(&fs::read(dump)?, &mut data)?;
    File::options().write(true).open(&file)?.write_all_at(&data, HEADER_BYTES)?;
    Ok((file, recovery))
}

fn arg(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

fn run(command: &mut Command) -> Result<()> {
    feed(command, b"")
}

fn feed(command: &mut Command, input: &[u8]) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
    child.stdin.take().context("no input")?.write_all(input)?;
    let status = child.wait()?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}

/// Puts an image into slot b of a node's disk, as an update does; GRUB finds `environment` in its file, as lines.
///
/// # Errors
/// When a file cannot be read or written.
pub fn fill_slot_b(disk: &Path, image: &Path, environment: &str) -> Result<()> {
    let image_root = image.join("root.img");
    let length = fs::metadata(&image_root).context("no root; tests/make/image-variants makes it")?.len();
    append(disk, &format!("size={}, type={ROOT_TYPE}, name=meadow-root-b\n", length.div_ceil(512)))?;
    let found = partitions(disk)?.into_iter().find(|(name, ..)| name == "meadow-root-b");
    let (_, start, _) = found.context("no second root")?;
    let place = [format!("if={}", image_root.display()), format!("of={}", disk.display()), format!("seek={start}")];
    let how = ["bs=1M", "conv=notrunc", "oflag=seek_bytes", "status=none"];
    ensure!(Command::new("dd").args(place).args(how).status()?.success(), "dd failed");
    let esp = Esp::open(disk)?;
    for name in ["vmlinuz", "initrd", "uki.efi", "uki.efi.sig"] {
        esp.write("meadow/b", name, &fs::read(image.join(name))?)?;
    }
    // Whatever it says: it makes the slot count as whole.
    esp.write("meadow/b", "root.json", b"{}")?;
    let mut file = format!("# GRUB Environment Block\n{environment}trial=\nfailures=0\n").into_bytes();
    file.resize(1024, b'#');
    esp.write("meadow", "grubenv", &file)
}
