//! Which partitions of a disk are Meadow's (`docs/decisions/0006-installed-nodes.md`).

use std::collections::BTreeMap;

use super::Partition;
use super::sysfs::ESP;
use crate::slot::Slot;

/// Meadow's partitions on one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Kernel name of the disk.
    pub disk: String,
    /// The ESP.
    pub esp: Option<Partition>,
    /// The two roots; a stick has only the first.
    pub roots: Vec<(Slot, Partition)>,
    /// What is needed before the state opens.
    pub preboot: Option<Partition>,
    /// The encrypted state.
    pub state: Option<Partition>,
    /// What a stick brings along.
    pub seed: Option<Partition>,
}

impl Layout {
    /// Whether a system can boot from it.
    #[must_use]
    pub fn has_root(&self) -> bool {
        !self.roots.is_empty()
    }

    /// Whether its ESP is the one that the boot loader said it came from.
    #[must_use]
    pub fn is_of(&self, esp: Option<&str>) -> bool {
        esp.is_some() && self.esp.as_ref().and_then(|partition| partition.uuid.as_deref()) == esp
    }

    /// Of disks with a root, the one that the boot loader came from: the one with its ESP. Where it does not say which that is
    /// (some firmware keeps no variables), the only one.
    #[must_use]
    pub fn started<'a>(disks: &'a [Self], esp: Option<&str>) -> Option<&'a Self> {
        match (esp, disks) {
            (Some(_), _) => disks.iter().find(|layout| layout.is_of(esp)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }

    /// Whether it holds the state of a node.
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.preboot.is_some() && self.state.is_some()
    }

    /// Whether it is a stick: a system that is nobody's yet, and room for a seed.
    #[must_use]
    pub fn is_stick(&self) -> bool {
        self.has_root() && self.seed.is_some() && self.preboot.is_none() && self.state.is_none()
    }

    /// The roots, the one of `first` before the other.
    #[must_use]
    pub fn roots_from(&self, first: Option<Slot>) -> Vec<(Slot, Partition)> {
        let mut roots = self.roots.clone();
        roots.sort_by_key(|(slot, _)| Some(*slot) != first);
        roots
    }

    fn take(&mut self, partition: Partition) {
        // Of two with one name the first counts; nothing of ours makes a second.
        match partition.name.as_str() {
            ESP => _ = self.esp.get_or_insert(partition),
            "meadow-root-a" => self.take_root(Slot::A, partition),
            "meadow-root-b" => self.take_root(Slot::B, partition),
            "meadow-preboot" => _ = self.preboot.get_or_insert(partition),
            "meadow-seed" => _ = self.seed.get_or_insert(partition),
            "meadow-state" => _ = self.state.get_or_insert(partition),
            _ => {}
        }
    }

    fn take_root(&mut self, slot: Slot, partition: Partition) {
        if self.roots.iter().all(|(taken, _)| *taken != slot) {
            self.roots.push((slot, partition));
        }
    }
}

/// The disks with partitions of ours: first the one with the ESP `esp`, then those with a state, then by name.
#[must_use]
pub fn layouts(partitions: Vec<Partition>, esp: Option<&str>) -> Vec<Layout> {
    let mut disks: BTreeMap<String, Layout> = BTreeMap::new();
    for partition in partitions {
        let disk = disks.entry(partition.disk.clone()).or_default();
        disk.disk.clone_from(&partition.disk);
        disk.take(partition);
    }
    let mut found: Vec<Layout> =
        disks.into_values().filter(|layout| layout.has_root() || layout.preboot.is_some()).collect();
    // Stable: disks of one kind stay sorted by name.
    found.sort_by_key(|layout| (!layout.is_of(esp), !layout.has_state()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(device: &str, name: &str) -> Partition {
        let disk = device.trim_end_matches(|digit: char| digit.is_ascii_digit()).to_owned();
        Partition { disk, device: device.to_owned(), name: name.to_owned(), uuid: Some(format!("uuid-{device}")) }
    }

    fn disks() -> Vec<Partition> {
        vec![
            partition("sda1", "EFI system partition"),
            partition("sda2", "home"),
            partition("sdb2", "meadow-esp"),
            partition("sdb3", "meadow-root-a"),
            partition("sdb4", "meadow-seed"),
            partition("vda2", "meadow-esp"),
            partition("vda3", "meadow-root-a"),
            partition("vda4", "meadow-root-b"),
            partition("vda5", "meadow-preboot"),
            partition("vda6", "meadow-state"),
            partition("vda7", "meadow-root-a"),
        ]
    }

    #[test]
    fn foreign_disks_are_left_out_and_a_node_comes_before_a_stick() {
        let found = layouts(disks(), None);
        assert_eq!(found.iter().map(|layout| layout.disk.as_str()).collect::<Vec<_>>(), ["vda", "sdb"]);
        assert!(found[0].has_state() && !found[1].has_state());
        assert!(!found[0].is_stick() && found[1].is_stick());
        let roots: Vec<_> = found[0].roots_from(Some(Slot::B)).into_iter().map(|(_, part)| part.device).collect();
        assert_eq!(roots, ["vda4", "vda3"]);
    }

    #[test]
    fn the_disk_that_the_boot_loader_came_from_is_first() {
        assert_eq!(layouts(disks(), Some("uuid-sdb2"))[0].disk, "sdb");
        assert_eq!(layouts(disks(), Some("uuid-sdc2"))[0].disk, "vda");
    }

    #[test]
    fn the_disk_that_started_is_not_guessed() {
        let (both, one) = (layouts(disks(), None), layouts(disks()[2..5].to_vec(), None));
        assert_eq!(Layout::started(&both, Some("uuid-vda2")).map(|layout| layout.disk.as_str()), Some("vda"));
        assert_eq!(Layout::started(&both, Some("uuid-sdc2")), None);
        assert_eq!(Layout::started(&both, None), None);
        assert_eq!(Layout::started(&one, None).map(|layout| layout.disk.as_str()), Some("sdb"));
    }

    #[test]
    fn a_disk_with_only_the_state_counts() {
        let state = vec![partition("vdb1", "meadow-preboot"), partition("vdb2", "meadow-state")];
        assert!(layouts(state.clone(), None)[0].has_state());
        // Whose state is gone there, is in the record: the machine says what it was.
        assert!(!layouts(state[..1].to_vec(), None)[0].has_state());
        assert_eq!(layouts(state[1..].to_vec(), None), []);
    }
}
