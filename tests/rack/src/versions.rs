//! Versions of the firmware and boot loaders that machines run here, as the packages have them that they came in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;

/// What runs, its package, and whether the tools tree's goes before the host's, as where the rack looks for the files.
const PARTS: [(&str, &str, bool); 5] = [
    ("SeaBIOS", "seabios", false),
    ("iPXE in the cards' ROMs", "ipxe-qemu", false),
    ("EDK2 in OVMF", "ovmf", true),
    ("EDK2 in AAVMF", "qemu-efi-aarch64", false),
    ("iPXE of the image", "ipxe", true),
];

/// One sentence for people with all that is installed.
///
/// # Errors
/// When dpkg-query cannot be run, or nothing is installed.
pub fn of_firmware() -> Result<String> {
    let mut parts = Vec::new();
    for (name, package, is_of_tools) in PARTS {
        let version = match is_of_tools {
            true => version(&paths::tools(), package)?,
            false => None,
        };
        let version = match version {
            Some(version) => Some(version),
            None => self::version(Path::new("/"), package)?,
        };
        parts.extend(version.map(|version| format!("{name} {version}")));
    }
    if parts.is_empty() {
        bail!("no package of a firmware is installed; `make packages` installs them");
    }
    Ok(parts.join(", "))
}

/// The version of a package that is installed below `root`.
fn version(root: &Path, package: &str) -> Result<Option<String>> {
    let database: PathBuf = root.join("var/lib/dpkg");
    if !database.exists() {
        return Ok(None);
    }
    let output = Command::new("dpkg-query")
        .arg(format!("--admindir={}", database.display()))
        .args(["--show", "--showformat=${db:Status-Status} ${Version}", package])
        .output()
        .context("cannot run dpkg-query")?;
    // It fails for one that it does not know.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.strip_prefix("installed ").map(str::to_owned).filter(|_| output.status.success()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_is_installed_has_a_version() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(version(root.path(), "seabios").expect("no Debian"), None);
        let database = root.path().join("var/lib/dpkg");
        fs::create_dir_all(&database).expect("made");
        let entry = |name: &str, status: &str| {
            format!(
                "Package: {name}\nStatus: {status}\nArchitecture: all\nVersion: 1.2-3\nMaintainer: x\nDescription: x\n\n"
            )
        };
        let status = entry("seabios", "install ok installed") + &entry("ovmf", "deinstall ok config-files");
        fs::write(database.join("status"), status).expect("written");
        let of = |package| version(root.path(), package).expect("dpkg-query");
        assert_eq!((of("seabios").as_deref(), of("ovmf"), of("ipxe")), (Some("1.2-3"), None, None));
    }
}
