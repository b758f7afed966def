//! What lies on a disk, in words that a person reads before it is lost.

use meadow_model::hardware::{Disk, DiskPartition};

use crate::refusal::binary;

/// One line for the disk itself and one for each partition; empty where the disk is blank.
pub(crate) fn in_words(disk: &Disk) -> Vec<String> {
    let whole = disk.signature.as_deref().map(|signature| match signature {
        "gpt" => "a partition table (GPT)".to_owned(),
        "dos" => "a partition table (MBR)".to_owned(),
        "partitions" => "a partition table of an unknown kind".to_owned(),
        "unknown data" => "data of an unknown kind".to_owned(),
        "unknown" => "perhaps data: nobody has looked at it yet".to_owned(),
        "unreadable" => "perhaps data: it cannot be read".to_owned(),
        other => format!("{other} on the whole disk"),
    });
    whole.into_iter().chain(disk.partitions.iter().map(partition)).collect()
}

fn partition(partition: &DiskPartition) -> String {
    let quoted = |text: &Option<String>| text.as_ref().map(|text| format!(" “{text}”")).unwrap_or_default();
    let content = match &partition.content {
        Some(content) => format!("{content}{}", quoted(&partition.label)),
        None => "nothing that is recognised".to_owned(),
    };
    format!("partition {}{}, {}: {content}", partition.number, quoted(&partition.name), binary(partition.size_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_disks_lose_nothing() {
        assert!(in_words(&Disk::default()).is_empty());
    }

    #[test]
    fn every_partition_is_named() {
        let text = |text: &str| Some(text.to_owned());
        let esp =
            DiskPartition { number: 1, name: text("EFI"), size_bytes: 512 << 20, content: text("vfat"), label: None };
        let data =
            DiskPartition { number: 2, size_bytes: 3 << 40, content: text("ext4"), label: text("photos"), name: None };
        let raw = DiskPartition { number: 3, size_bytes: 1 << 20, ..DiskPartition::default() };
        let disk = Disk { signature: text("gpt"), partitions: vec![esp, data, raw], ..Disk::default() };
        assert_eq!(
            in_words(&disk),
            [
                "a partition table (GPT)",
                "partition 1 “EFI”, 512 MiB: vfat",
                "partition 2, 3 TiB: ext4 “photos”",
                "partition 3, 1 MiB: nothing that is recognised",
            ]
        );
    }
}
