//! Why a disk is not taken.

/// Why there is no plan, with the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No disk has that serial number.
    #[error("{node} has no disk with the serial number {serial}; it has {}", list(.known))]
    NoSuchDisk {
        /// The node.
        node: String,
        /// What was asked for.
        serial: String,
        /// Serial numbers that there are.
        known: Vec<String>,
    },
    /// Every disk has something on it, is in use or too small.
    #[error(
        "{node} has no blank disk of {} or more; name the one to wipe by its serial number: it has {}",
        binary(*.needs), list(.known)
    )]
    NoBlankDisk {
        /// The node.
        node: String,
        /// Bytes that are needed.
        needs: u64,
        /// Serial numbers that there are.
        known: Vec<String>,
    },
    /// Several disks have that serial number.
    #[error(
        "the disks {} say that they have the same serial number {serial}, so nobody can say which one is meant; unplug all \
         but one of them and try again", .disks.join(" and ")
    )]
    SameSerial {
        /// What was asked for.
        serial: String,
        /// Kernel names of the disks.
        disks: Vec<String>,
    },
    /// Too small.
    #[error("{disk} ({serial}) has {}, {} are needed; take a larger disk", binary(*.has), binary(*.needs))]
    TooSmall {
        /// Kernel name.
        disk: String,
        /// Serial number.
        serial: String,
        /// Bytes that it has.
        has: u64,
        /// Bytes that are needed.
        needs: u64,
    },
    /// Writes are refused.
    #[error("{disk} ({serial}) is read-only; look for a write-protect switch, or take another disk")]
    ReadOnly {
        /// Kernel name.
        disk: String,
        /// Serial number.
        serial: String,
    },
    /// It cannot be read.
    #[error("{disk} ({serial}) cannot be read; check its cable and its health, or take another disk")]
    Unreadable {
        /// Kernel name.
        disk: String,
        /// Serial number.
        serial: String,
    },
    /// A Meadow stick, perhaps the one that the node runs from.
    #[error(
        "{disk} ({serial}) is a Meadow stick with a seed, perhaps the one that {node} runs from; choose the disk that \
         stays in the computer, or clear the stick elsewhere first"
    )]
    Stick {
        /// The node.
        node: String,
        /// Kernel name.
        disk: String,
        /// Serial number.
        serial: String,
    },
    /// Something uses it.
    #[error(
        "{disk} ({serial}) is in use ({}); stop what uses it, or start {node} over the network or from a stick first",
        .by.join(", ")
    )]
    InUse {
        /// The node.
        node: String,
        /// Kernel name.
        disk: String,
        /// Serial number.
        serial: String,
        /// What uses it.
        by: Vec<String>,
    },
}

fn list(serials: &[String]) -> String {
    if serials.is_empty() {
        return "none that tells one; a virtual machine's disk needs a serial number to be named".to_owned();
    }
    serials.join(", ")
}

/// Bytes for people, exact or rounded down to a tenth.
pub(crate) fn binary(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = units.into_iter().find(|(_, shift)| bytes >> shift > 0) else {
        return format!("{bytes} B");
    };
    let (whole, tenth) = (bytes >> shift, ((bytes >> (shift - 10)) % 1024) * 10 / 1024);
    if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        let cases =
            [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1 MiB"), (2323 << 20, "2.2 GiB"), (u64::MAX, "16777215.9 TiB")];
        for (bytes, text) in cases {
            assert_eq!(binary(bytes), text);
        }
    }
}
