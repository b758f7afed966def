//! What systemd's EFI stub, the first part of a UKI, says about where it was loaded from (systemd-stub(7)).

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::mode::is_uuid;
use crate::slot::Slot;

const MOUNT: &str = "/sys/firmware/efi/efivars";
/// The vendor of these variables.
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The stub's own variable first: the other one may be an earlier boot loader's.
const PARTITION: [&str; 2] = ["StubDevicePartUUID", "LoaderDevicePartUUID"];
const IMAGE: [&str; 2] = ["StubImageIdentifier", "LoaderImageIdentifier"];
/// The kernel puts a variable's attributes before its value.
const ATTRIBUTES: usize = 4;

/// Where the UKI was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// GPT UUID of the partition, in lower case.
    pub esp: Option<String>,
    /// The slot whose folder it was in.
    pub slot: Option<Slot>,
}

/// Asks the firmware; empty where it is none, or a BIOS.
#[must_use]
pub fn origin() -> Origin {
    if !Path::new(MOUNT).exists() {
        return Origin::default();
    }
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if rustix::mount::mount("efivarfs", MOUNT, "efivarfs", flags, None).is_err() {
        return Origin::default();
    }
    let read =
        |names: [&str; 2]| names.into_iter().find_map(|name| text(&fs::read(format!("{MOUNT}/{name}-{VENDOR}")).ok()?));
    let origin = Origin {
        esp: read(PARTITION).filter(|text| is_uuid(text)).map(|text| text.to_ascii_lowercase()),
        slot: read(IMAGE).and_then(|path| slot(&path)),
    };
    // The booted system mounts it as it likes.
    let _ = rustix::mount::unmount(MOUNT, UnmountFlags::DETACH);
    origin
}

/// A variable's text: UTF-16, ended by a zero.
fn text(variable: &[u8]) -> Option<String> {
    let units: Vec<u16> =
        variable.get(ATTRIBUTES..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    String::from_utf16(units.get(..end)?).ok()
}

/// The slot in `\meadow\a\uki.efi`.
fn slot(path: &str) -> Option<Slot> {
    let lower = path.to_ascii_lowercase();
    let mut parts = lower.split(['\\', '/']).skip_while(|part| *part != "meadow");
    parts.next()?;
    Slot::parse(parts.next()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_and_slots() {
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend("\\meadow\\B\\uki.efi\0rest".encode_utf16().flat_map(u16::to_le_bytes));
        let path = text(&bytes).unwrap();
        assert_eq!(path, "\\meadow\\B\\uki.efi");
        assert_eq!(slot(&path), Some(Slot::B));
        for other in ["\\EFI\\BOOT\\BOOTX64.EFI", "\\meadow", "\\meadow\\c\\uki.efi", ""] {
            assert_eq!(slot(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_variable_is_read_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = text(&bytes).map(|path| slot(&path));
        }
    }
}
