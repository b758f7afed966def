//! Firmware kinds, from the client system architecture (DHCP option 93, RFC 4578 and IANA's list).

use std::fmt;

use meadow_model::MacAddress;
use serde::{Deserialize, Serialize};

/// Organisation prefixes of the Raspberry Pi foundation and company: their boot ROM says
/// architecture 0, but does not speak PXE.
const RASPBERRY_PI_OUIS: [[u8; 3]; 6] = [
    [0x28, 0xcd, 0xc1],
    [0x2c, 0xcf, 0x67],
    [0xb8, 0x27, 0xeb],
    [0xd8, 0x3a, 0xdd],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
];

/// The processors that an image is for which says nothing of them.
pub const X86_64: &str = "x86_64";

/// What kind of firmware asks to be booted. It decides the form of the answer and the boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// x86 BIOS, PXE (code 0).
    Bios,
    /// x64 UEFI, PXE (codes 7 and 9; RFC 4578 had them swapped).
    UefiX64,
    /// x64 UEFI, HTTP boot (codes 16 and 17).
    HttpX64,
    /// IA32 UEFI, PXE or HTTP boot (codes 6 and 15).
    UefiIa32,
    /// ARM64 UEFI, PXE (code 11).
    UefiArm64,
    /// ARM64 UEFI, HTTP boot (code 19).
    HttpArm64,
    /// x86 BIOS, HTTP boot (code 20).
    HttpBios,
    /// A Raspberry Pi's boot ROM (code 41, or code 0 with one of its addresses).
    RaspberryPi,
    /// Our own initrd (no option 93).
    Initrd,
    /// Any other code.
    Other(u16),
}

impl Firmware {
    /// Chooses from the list of codes in option 93, which must be scanned whole: the first code
    /// that has a boot loader wins, else the first code.
    #[must_use]
    pub fn from_codes(codes: impl Iterator<Item = u16>, mac: MacAddress) -> Option<Self> {
        let mut first = None;
        for code in codes {
            let firmware = Self::from_code(code, mac);
            if firmware.loader().is_some() {
                return Some(firmware);
            }
            first = first.or(Some(firmware));
        }
        first
    }

    fn from_code(code: u16, mac: MacAddress) -> Self {
        match code {
            0 if is_raspberry_pi(mac) => Self::RaspberryPi,
            0 => Self::Bios,
            6 | 15 => Self::UefiIa32,
            7 | 9 => Self::UefiX64,
            11 => Self::UefiArm64,
            19 => Self::HttpArm64,
            16 | 17 => Self::HttpX64,
            20 => Self::HttpBios,
            41 => Self::RaspberryPi,
            other => Self::Other(other),
        }
    }

    /// The artifact this firmware is given to start with, `None` when there is none for it.
    #[must_use]
    pub fn loader(self) -> Option<&'static str> {
        match self {
            Self::Bios | Self::HttpBios => Some("ipxe/undionly.kpxe"),
            Self::UefiX64 => Some("ipxe/snponly.efi"),
            Self::HttpX64 => Some("ipxe/ipxe.efi"),
            Self::UefiArm64 | Self::HttpArm64 => Some("ipxe/ipxe-arm64.efi"),
            Self::UefiIa32 | Self::RaspberryPi | Self::Initrd | Self::Other(_) => None,
        }
    }

    /// The processors that it is for, as Rust names them, where it tells. A BIOS may be that of a machine with 32 bits,
    /// which only the kernel finds out.
    #[must_use]
    pub fn architecture(self) -> Option<&'static str> {
        match self {
            Self::Bios | Self::UefiX64 | Self::HttpX64 | Self::UefiIa32 | Self::HttpBios => Some(X86_64),
            Self::UefiArm64 | Self::HttpArm64 => Some("aarch64"),
            Self::RaspberryPi | Self::Initrd | Self::Other(_) => None,
        }
    }

    /// Why a machine with this firmware cannot boot an image for these processors, for people, with the next step; `None`
    /// if it can, as far as anybody knows.
    #[must_use]
    pub fn misfit(self, image: &str) -> Option<String> {
        let own = self.architecture().filter(|own| *own != image)?;
        Some(format!(
            "its image is for {image} processors and this machine has {own} ones; \
             `meadow machine boot MACHINE image --image IMAGE` gives it another image, \
             `meadow machine boot MACHINE script` another system"
        ))
    }

    /// Why a machine with this firmware gets nothing, for people, with the next step.
    #[must_use]
    pub fn unsupported_hint(self) -> &'static str {
        match self {
            Self::RaspberryPi => "a Raspberry Pi's network boot is not PXE; boot it from an SD card or USB stick",
            Self::UefiIa32 => "there is no boot loader for 32-bit UEFI; turn on legacy (BIOS) boot or use a USB stick",
            _ => "there is no boot loader for this architecture; boot it from a USB stick",
        }
    }
}

fn is_raspberry_pi(mac: MacAddress) -> bool {
    RASPBERRY_PI_OUIS.iter().any(|oui| mac.0.starts_with(oui))
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bios => f.write_str("BIOS PXE"),
            Self::UefiX64 => f.write_str("UEFI x64 PXE"),
            Self::HttpX64 => f.write_str("UEFI x64 HTTP boot"),
            Self::UefiIa32 => f.write_str("UEFI IA32"),
            Self::UefiArm64 => f.write_str("UEFI ARM64 PXE"),
            Self::HttpArm64 => f.write_str("UEFI ARM64 HTTP boot"),
            Self::HttpBios => f.write_str("BIOS HTTP boot"),
            Self::RaspberryPi => f.write_str("Raspberry Pi"),
            Self::Initrd => f.write_str("Meadow initrd"),
            Self::Other(code) => write!(f, "architecture {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PC: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
    const PI: MacAddress = MacAddress([0xdc, 0xa6, 0x32, 0, 0, 1]);

    #[test]
    fn codes_choose_firmware() {
        for (codes, mac, wanted) in [
            (&[0][..], PC, Some(Firmware::Bios)),
            (&[0], PI, Some(Firmware::RaspberryPi)),
            (&[7], PC, Some(Firmware::UefiX64)),
            (&[9], PC, Some(Firmware::UefiX64)),
            (&[16], PC, Some(Firmware::HttpX64)),
            (&[6, 7], PC, Some(Firmware::UefiX64)),
            (&[6], PC, Some(Firmware::UefiIa32)),
            (&[15], PC, Some(Firmware::UefiIa32)),
            (&[11], PC, Some(Firmware::UefiArm64)),
            (&[19], PC, Some(Firmware::HttpArm64)),
            (&[20], PC, Some(Firmware::HttpBios)),
            (&[41], PC, Some(Firmware::RaspberryPi)),
            (&[99, 98], PC, Some(Firmware::Other(99))),
            (&[], PC, None),
        ] {
            assert_eq!(Firmware::from_codes(codes.iter().copied(), mac), wanted, "{codes:?} {mac}");
        }
    }
}
