//! Firmware of a machine, and where its files are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::paths;

/// How a machine boots over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS and the iPXE in the network card's ROM.
    BiosPxe,
    /// OVMF with its own PXE client.
    UefiPxe,
    /// OVMF with HTTP boot only.
    UefiHttp,
    /// An ARM64 machine with AAVMF's PXE client. Nothing of the image runs there.
    Arm64Pxe,
    /// An ARM64 machine with AAVMF's HTTP boot only.
    Arm64Http,
}

impl Firmware {
    /// Whether its processors are ARM64.
    #[must_use]
    pub fn is_arm64(self) -> bool {
        matches!(self, Self::Arm64Pxe | Self::Arm64Http)
    }

    /// Whether it boots over HTTP only.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::UefiHttp | Self::Arm64Http)
    }
}

impl FromStr for Firmware {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "bios" => Ok(Self::BiosPxe),
            "uefi" => Ok(Self::UefiPxe),
            "http" => Ok(Self::UefiHttp),
            other => Err(format!("`{other}` is no firmware; there are bios, uefi and http")),
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BiosPxe => "BIOS PXE",
            Self::UefiPxe => "UEFI PXE",
            Self::UefiHttp => "UEFI HTTP",
            Self::Arm64Pxe => "ARM64 PXE",
            Self::Arm64Http => "ARM64 HTTP",
        })
    }
}

/// The two flash images of OVMF.
#[derive(Clone, Debug)]
pub struct Ovmf {
    /// The code, read-only.
    pub code: PathBuf,
    /// An empty store of variables, to be copied for each machine.
    pub variables: PathBuf,
    /// Whether the code knows Secure Boot.
    pub secure_boot: bool,
}

impl Ovmf {
    /// Finds OVMF: the tools tree's, which is newer and quicker, else the host's.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self> {
        Self::find_code("OVMF_CODE_4M.fd", false)
    }

    /// As [`Ovmf::find`], with Secure Boot.
    ///
    /// # Errors
    /// When there is none.
    pub fn find_secure() -> Result<Self> {
        Self::find_code("OVMF_CODE_4M.secboot.fd", true)
    }

    /// Finds its like for ARM64, on the host.
    ///
    /// # Errors
    /// When there is none.
    pub fn find_arm64() -> Result<Self> {
        let folder = PathBuf::from("/usr/share/AAVMF");
        let (code, variables) = (folder.join("AAVMF_CODE.fd"), folder.join("AAVMF_VARS.fd"));
        let found = code.exists() && variables.exists();
        let missing = "there is no AAVMF_CODE.fd; `make test` installs Debian's package qemu-efi-aarch64";
        found.then_some(Self { code, variables, secure_boot: false }).context(missing)
    }

    fn find_code(name: &str, secure_boot: bool) -> Result<Self> {
        [paths::tools(), PathBuf::from("/")]
            .iter()
            .map(|root| root.join("usr/share/OVMF"))
            .map(|folder| Self { code: folder.join(name), variables: folder.join("OVMF_VARS_4M.fd"), secure_boot })
            .find(|ovmf| ovmf.code.exists() && ovmf.variables.exists())
            .with_context(|| format!("there is no {name}; `make packages` installs Debian's package ovmf"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_command_line() {
        assert_eq!("bios".parse(), Ok(Firmware::BiosPxe));
        assert_eq!(" uefi".parse(), Ok(Firmware::UefiPxe));
        assert_eq!("http".parse(), Ok(Firmware::UefiHttp));
        assert!("pxe".parse::<Firmware>().is_err());
    }
}
