//! The card that the firmware booted from, as the kernel's command line names it.

use crate::dhcp::Mac;

/// What PXELINUX calls it too (`IPAPPEND 2`): the hardware type and the address, with dashes.
const PARAMETER: &str = "BOOTIF=";
/// Hardware type of Ethernet (IANA's ARP parameters).
const ETHERNET: &str = "01";

/// The hardware address in `BOOTIF=01-52-54-00-00-00-01`; `None` where there is no such parameter, or an odd one: it
/// is a hint, and a boot goes on without.
#[must_use]
pub fn boot_card(command_line: &str) -> Option<Mac> {
    let value = command_line.split_ascii_whitespace().find_map(|word| word.strip_prefix(PARAMETER))?;
    let mut parts = value.split('-');
    if parts.next() != Some(ETHERNET) {
        return None;
    }
    let mut mac = Mac::default();
    for byte in &mut mac {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_command_lines() {
        let mac = Some([0x52, 0x54, 0, 0xab, 0xcd, 1]);
        for (text, expected) in [
            ("quiet BOOTIF=01-52-54-00-ab-cd-01 loglevel=3\n", mac),
            ("BOOTIF=01-52-54-00-AB-CD-01", mac),
            ("quiet loglevel=3", None),
            ("XBOOTIF=01-52-54-00-ab-cd-01", None),
            ("BOOTIF=", None),
            ("BOOTIF=52-54-00-ab-cd-01", None),
            ("BOOTIF=20-52-54-00-ab-cd-01", None),
            ("BOOTIF=01-52-54-00-ab-cd", None),
            ("BOOTIF=01-52-54-00-ab-cd-01-02", None),
            ("BOOTIF=01-52-54-00-ab-cd-+1", None),
            ("BOOTIF=01-52-54-00-ab-cd-1", None),
            ("BOOTIF=01-52:54:00:ab:cd:01", None),
        ] {
            assert_eq!(boot_card(text), expected, "{text:?}");
        }
    }
}
