//! Partitions, as sysfs lists them.

use std::fs;
use std::path::Path;

use super::gpt::partition_uuid;

/// GPT name of the ESP.
pub(super) const ESP: &str = "meadow-esp";
const CLASS: &str = "/sys/class/block";

/// A partition with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Kernel name of its disk, such as `vda`.
    pub disk: String,
    /// Its own, such as `vda3`.
    pub device: String,
    /// Its GPT name, such as `meadow-root-a`.
    pub name: String,
    /// Its GPT UUID in lower case; asked for only for the ESP.
    pub uuid: Option<String>,
}

impl Partition {
    /// Its device node.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/dev/{}", self.device)
    }

    /// From its `uevent` file and where it is in sysfs; `None` for whole disks and partitions without a name.
    fn parse(uevent: &str, place: &Path) -> Option<Self> {
        let field = |key: &str| {
            uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).filter(|value| !value.is_empty())
        };
        if field("DEVTYPE")? != "partition" {
            return None;
        }
        let device = field("DEVNAME").filter(|name| !name.contains('/'))?;
        let disk = place.parent()?.file_name()?.to_str()?;
        Some(Self { disk: disk.to_owned(), device: device.to_owned(), name: field("PARTNAME")?.to_owned(), uuid: None })
    }
}

/// All partitions with a name, sorted by device.
#[must_use]
pub fn partitions() -> Vec<Partition> {
    let Ok(entries) = fs::read_dir(CLASS) else { return Vec::new() };
    let mut found: Vec<Partition> = entries
        .flatten()
        .filter_map(|entry| {
            let place = fs::canonicalize(entry.path()).ok()?;
            let mut found = Partition::parse(&fs::read_to_string(place.join("uevent")).ok()?, &place)?;
            // What a boot loader names its disk by. Other disks than ours are not looked at.
            if found.name == ESP {
                found.uuid = partition_uuid(&found.disk, &found.device);
            }
            Some(found)
        })
        .collect();
    found.sort_by(|a, b| a.device.cmp(&b.device));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: &str = "/sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda/vda3";

    #[test]
    fn reads_a_partition_and_nothing_else() {
        let text = "MAJOR=254\nMINOR=3\nDEVNAME=vda3\nDEVTYPE=partition\nDISKSEQ=9\nPARTN=3\nPARTNAME=meadow-root-a\n";
        let partition = Partition::parse(text, Path::new(PLACE)).unwrap();
        assert_eq!((partition.disk.as_str(), partition.path().as_str()), ("vda", "/dev/vda3"));
        assert_eq!(partition.name, "meadow-root-a");
        for other in [
            "DEVNAME=vda\nDEVTYPE=disk\n",
            "DEVNAME=vda3\nDEVTYPE=partition\n",
            "DEVNAME=../vda3\nDEVTYPE=partition\nPARTNAME=meadow-root-a\n",
            "",
        ] {
            assert_eq!(Partition::parse(other, Path::new(PLACE)), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_taken_as_it_is(name in "[^\\p{C}=]{1,36}") {
            let text = format!("DEVNAME=sda1\nDEVTYPE=partition\nPARTNAME={name}\n");
            prop_assert_eq!(Partition::parse(&text, Path::new(PLACE)).unwrap().name, name);
        }
    }
}
