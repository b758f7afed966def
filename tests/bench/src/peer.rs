//! The peer of the boot benchmark: the image's own kernel with Debian's busybox as init, served like the image.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use meadow_rack::paths;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use meadow_rack::cpio::Cpio;

/// Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// Says on the serial line that it runs, as a milestone that the rack knows, and stays.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
echo 'meadow: peer' > /dev/ttyS0
exec /bin/busybox sleep 86400
";
/// What the milestone begins with.
pub(crate) const MILESTONE: &str = "peer";
/// What is the same for both.
const SHARED: [&str; 4] = ["vmlinuz", "ipxe/undionly.kpxe", "ipxe/snponly.efi", "ipxe/ipxe.efi"];

/// Makes the folder of an image whose initrd is the peer's.
///
/// # Errors
/// When busybox or the image is missing.
pub(crate) fn make(folder: &Path) -> Result<PathBuf> {
    let image = paths::image();
    fs::create_dir_all(folder.join("ipxe")).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut artifacts = Map::new();
    for name in SHARED {
        let path = image.join(name);
        let bytes = fs::read(&path).with_context(|| format!("no {}; `make image` builds it", path.display()))?;
        put(folder, &mut artifacts, name, &bytes)?;
    }
    put(folder, &mut artifacts, "initrd", &initrd()?)?;
    let manifest = json!({"version": 1, "image": "peer", "kernel": "", "artifacts": artifacts, "packages": []});
    fs::write(folder.join("manifest.json"), manifest.to_string()).context("cannot write the peer's manifest")?;
    Ok(folder.to_owned())
}

fn put(folder: &Path, artifacts: &mut Map<String, Value>, name: &str, bytes: &[u8]) -> Result<()> {
    artifacts.insert(name.to_owned(), json!({"size": bytes.len(), "sha256": HEXLOWER.encode(&Sha256::digest(bytes))}));
    fs::write(folder.join(name), bytes).with_context(|| format!("cannot write the peer's {name}"))
}

fn initrd() -> Result<Vec<u8>> {
    let busybox =
        fs::read(BUSYBOX).with_context(|| format!("no {BUSYBOX}; install what tests/bench/packages.list names"))?;
    let mut archive = Cpio::default();
    archive.folder("bin").folder("dev").program("bin/busybox", &busybox).program("init", INIT.as_bytes());
    Ok(archive.finish())
}
