//! How disks are shown, on every page that lets somebody choose one.

use meadow_model::hardware::Disk;
use ratatui::style::{Modifier, Style};

/// A disk in a line: serial number, size, model, what lies there.
pub(crate) fn disk_text(disk: &Disk) -> String {
    let serial = disk.serial.as_deref().unwrap_or("no serial number");
    let holds = match (disk.in_use.as_slice(), &disk.signature) {
        ([], None) => "blank".to_owned(),
        ([], Some(signature)) => {
            let parts = disk.partitions.len();
            if parts == 0 { signature.clone() } else { format!("{signature}, {parts} partitions") }
        }
        (uses, _) => format!("in use: {}", uses.join(" ")),
    };
    format!("{serial}  {}  {}  {holds}", gigabytes(disk.size_bytes), disk.model.as_deref().unwrap_or(""))
}

pub(crate) fn gigabytes(bytes: u64) -> String {
    if bytes >= 1_000_000_000 { format!("{} GB", bytes / 1_000_000_000) } else { format!("{} MB", bytes / 1_000_000) }
}

/// What is chosen, or typed into.
pub(crate) fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}
