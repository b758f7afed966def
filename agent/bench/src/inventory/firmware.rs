//! Firmware, SMBIOS and TPM.

use std::path::Path;

use meadow_host::files;
use meadow_model::hardware::FirmwareKind;

use super::text::attribute;

/// UEFI's variable `SecureBoot` of the global namespace (UEFI specification, section 3.3).
const SECURE_BOOT: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// What SMBIOS says; nothing of it can be trusted to be filled in or unique.
#[derive(Debug, Default)]
pub(super) struct Smbios {
    pub(super) vendor: Option<String>,
    pub(super) product: Option<String>,
    pub(super) uuid: Option<String>,
}

pub(super) fn read_smbios(root: &Path) -> Smbios {
    let id = root.join("sys/class/dmi/id");
    Smbios {
        vendor: attribute(&id.join("sys_vendor")),
        product: attribute(&id.join("product_name")),
        // Readable by root only.
        uuid: attribute(&id.join("product_uuid")).map(|uuid| uuid.to_ascii_lowercase()),
    }
}

/// A PC that was not started by UEFI was started by a BIOS; other machines without UEFI have neither.
pub(super) fn kind(root: &Path, arch: &str) -> FirmwareKind {
    if files::exists(&root.join("sys/firmware/efi")) {
        FirmwareKind::Uefi
    } else if matches!(arch, "x86" | "x86_64") {
        FirmwareKind::Bios
    } else {
        FirmwareKind::Unknown
    }
}

/// Four bytes of attributes, then the value: one byte.
pub(super) fn secure_boot(root: &Path) -> Option<bool> {
    match files::read(&root.join(SECURE_BOOT), 16).ok()?.as_slice() {
        [_, _, _, _, value] => Some(*value == 1),
        _ => None,
    }
}

pub(super) fn has_tpm(root: &Path) -> bool {
    files::exists(&root.join("sys/class/tpm/tpm0"))
}
