//! What sysfs says about network cards.

use std::fs;
use std::path::Path;

use crate::dhcp::Mac;

const CLASS: &str = "/sys/class/net";
/// `ARPHRD_ETHER`.
const ETHERNET: &str = "1";

/// Name, index and hardware address of every wired card: Ethernet, with hardware behind it,
/// and without a radio.
#[must_use]
pub fn wired_cards() -> Vec<(String, u32, Mac)> {
    let Ok(entries) = fs::read_dir(CLASS) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let directory = entry.path();
            let wired = read(&directory.join("type"))? == ETHERNET
                && directory.join("device").exists()
                && !directory.join("wireless").exists()
                && !directory.join("phy80211").exists();
            let index = read(&directory.join("ifindex"))?.parse().ok()?;
            let mac = parse_mac(&read(&directory.join("address"))?)?;
            (wired && mac != [0; 6]).then_some((name, index, mac))
        })
        .collect()
}

/// Whether the card is still the same one.
#[must_use]
pub(super) fn exists(name: &str, index: u32) -> bool {
    read(&Path::new(CLASS).join(name).join("ifindex")).is_some_and(|text| text == index.to_string())
}

/// The kernel's number of an interface.
#[must_use]
pub(super) fn index_of(name: &str) -> Option<u32> {
    read(&Path::new(CLASS).join(name).join("ifindex"))?.parse().ok()
}

/// Whether there is a signal on the wire. A card that is down has none.
#[must_use]
pub(super) fn has_carrier(name: &str) -> bool {
    read(&Path::new(CLASS).join(name).join("carrier")).is_some_and(|text| text == "1")
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// `52:54:00:ab:cd:ef`.
pub(super) fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses() {
        assert_eq!(parse_mac("52:54:00:ab:cd:ef"), Some([0x52, 0x54, 0, 0xab, 0xcd, 0xef]));
        for wrong in ["", "52:54:00:ab:cd", "52:54:00:ab:cd:ef:01", "52:54:00:ab:cd:xx"] {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }
}
