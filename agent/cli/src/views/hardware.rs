//! Hardware and measures.

use meadow_model::hardware::{Disk, FirmwareKind, Hardware, Measure, Measures, Nic};

use super::{binary_bytes, decimal_bytes};

/// The hardware in a few words.
pub(super) fn summary(hardware: Option<&Hardware>) -> String {
    let Some(hardware) = hardware else { return String::new() };
    let disks = match hardware.disks.len() {
        0 => "no disk".to_owned(),
        1 => "1 disk".to_owned(),
        number => format!("{number} disks"),
    };
    format!("{} threads, {}, {disks}", hardware.cpu.threads, binary_bytes(hardware.memory_bytes))
}

/// The hardware and its measures, line by line.
pub(super) fn lines(hardware: Option<&Hardware>, measures: Option<&Measures>) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(hardware) = hardware {
        let cpu = &hardware.cpu;
        let product = [hardware.vendor.as_deref(), hardware.product.as_deref()];
        lines.push(("Product", product.into_iter().flatten().collect::<Vec<_>>().join(" ")));
        lines.push(("Firmware", firmware(hardware)));
        lines.push(("Secure Boot", secure_boot(hardware).to_owned()));
        lines.push(("CPU", format!("{}, {} cores, {} threads", cpu.model, cpu.cores, cpu.threads)));
        lines.push(("Memory", binary_bytes(hardware.memory_bytes)));
        lines.extend(hardware.disks.iter().map(|one| ("Disk", disk(one))));
        lines.extend(hardware.nics.iter().map(|one| ("NIC", nic(one))));
    }
    if let Some(measures) = measures {
        let all = [
            ("CPU speed", &measures.cpu_single, "units/s on one core"),
            ("Cores' worth", &measures.effective_cores, "cores"),
            ("Memory speed", &measures.memory_mb_s, "MB/s"),
            ("fsync", &measures.fsync_us, "µs"),
        ];
        lines.extend(all.map(|(label, measure, unit)| (label, figure(measure, unit))));
    }
    lines
}

fn firmware(hardware: &Hardware) -> String {
    let kind = match hardware.firmware {
        FirmwareKind::Bios => "BIOS",
        FirmwareKind::Uefi => "UEFI",
        FirmwareKind::Unknown => "unknown",
    };
    format!("{kind}, {}", if hardware.tpm { "TPM" } else { "no TPM" })
}

/// Everything works without it; this says what is weaker then.
fn secure_boot(hardware: &Hardware) -> &'static str {
    match hardware.secure_boot {
        Some(true) => "on",
        Some(false) => {
            "off: who changes the boot loader is not noticed, and a TPM slot only protects a disk that leaves its machine; enrol secureboot.cer, see the guide"
        }
        None => "unsupported: who changes the boot loader on the disk is not noticed",
    }
}

fn disk(disk: &Disk) -> String {
    let mut parts = vec![disk.name.clone(), decimal_bytes(disk.size_bytes)];
    parts.extend([&disk.transport, &disk.model].into_iter().flatten().cloned());
    parts.push(disk.serial.as_ref().map_or("no serial".to_owned(), |serial| format!("serial {serial}")));
    parts.push(disk.signature.as_ref().map_or("blank".to_owned(), |what| format!("holds {what}")));
    if disk.read_only {
        parts.push("read-only".to_owned());
    }
    parts.join(", ")
}

fn nic(nic: &Nic) -> String {
    let speed = nic.speed_mbit.map(|speed| format!(", {speed} Mbit/s")).unwrap_or_default();
    let link = if nic.carrier { "link" } else { "no link" };
    let driver = nic.driver.as_deref().map(|driver| format!(", {driver}")).unwrap_or_default();
    format!("{}, {}{driver}, {link}{speed}", nic.name, nic.mac)
}

fn figure(measure: &Measure, unit: &str) -> String {
    let Some(value) = measure.value else {
        return measure.reason.as_ref().map(|reason| format!("not measured: {reason}")).unwrap_or_default();
    };
    let spread = measure.spread.map(|spread| format!(" (spread {:.0} %)", spread * 100.0)).unwrap_or_default();
    let value = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    format!("{value} {unit}{spread}")
}
