//! How resources are shown to people.

mod boot;
mod cluster;
mod disk;
mod event;
mod hardware;
mod image;
mod lease;
mod machine;
mod network;
mod node;
mod operation;
mod problem;
mod pxe_status;
mod reset;
mod said;
mod seed;
mod ssh_key;
mod token;

use meadow_host::{Clock, SystemClock};
use meadow_model::Timestamp;

pub(crate) use problem::Explanation;
pub(crate) use seed::ShownSeed;
pub(crate) use ssh_key::ShownSshKey;

/// Now, by this computer's clock; ages are shown by it.
pub(crate) fn now() -> Timestamp {
    SystemClock.wall()
}

/// A byte count in the units of its maker: disks are sold in powers of ten.
pub(crate) fn decimal_bytes(bytes: u64) -> String {
    scaled(bytes, 1000, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// A byte count in powers of two, as memory is.
pub(crate) fn binary_bytes(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

fn scaled(bytes: u64, base: u64, units: &[&str]) -> String {
    let (mut divisor, mut unit) = (1, 0);
    while bytes / divisor >= base && unit + 1 < units.len() {
        divisor *= base;
        unit += 1;
    }
    let tenths = u128::from(bytes) * 10 / u128::from(divisor);
    let unit = units.get(unit).copied().unwrap_or_default();
    if tenths >= 100 || tenths % 10 == 0 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_they_stand_on_the_box() {
        assert_eq!(decimal_bytes(0), "0 B");
        assert_eq!(decimal_bytes(999), "999 B");
        assert_eq!(decimal_bytes(512_110_190_592), "512 GB");
        assert_eq!(decimal_bytes(2_000_398_934_016), "2 TB");
        assert_eq!(binary_bytes(1_610_612_736), "1.5 GiB");
        assert_eq!(binary_bytes(u64::MAX), "16383 PiB");
    }
}
