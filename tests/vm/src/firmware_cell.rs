//! Cells of the table of firmware, cards and ways to boot: one machine each.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::card::Card;
use meadow_rack::namespace::Namespace;
use meadow_rack::{Firmware, Machine, Rack, RackConfig, paths, wait};

use crate::{BOOT, milestone};

/// The columns.
pub const CARDS: [Card; 3] = [Card::Virtio, Card::E1000, Card::Rtl8139];
/// What OVMF starts when it has tried everything else.
const GAVE_UP: &str = "UEFI Interactive Shell";
/// What the script for ARM64 says, without being there in one piece.
const SCRIPT: &str = "#!ipxe\necho the script ${undefined}runs on ${buildarch}\nsleep 3600\n";
const SCRIPT_RUNS: &str = "the script runs on arm64";

/// A way to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// As the table names it.
    pub name: &'static str,
    /// The firmware.
    pub firmware: Firmware,
    /// Whether an iPXE in a ROM is given our boot loader, as plain PXE firmware is.
    pub plain_pxe: bool,
    /// Whether the card has a ROM.
    pub rom: bool,
}

/// A BIOS boots no card without a ROM, which is why there is no such row. No card has a ROM for ARM64.
pub const MODES: [Mode; 8] = [
    Mode { name: "BIOS, iPXE in the card's ROM", firmware: Firmware::BiosPxe, plain_pxe: false, rom: true },
    Mode { name: "BIOS, ROM as plain PXE: `undionly.kpxe`", firmware: Firmware::BiosPxe, plain_pxe: true, rom: true },
    Mode { name: "UEFI PXE, no ROM: `snponly.efi`", firmware: Firmware::UefiPxe, plain_pxe: false, rom: false },
    Mode { name: "UEFI PXE, ROM: `snponly.efi`", firmware: Firmware::UefiPxe, plain_pxe: true, rom: true },
    Mode { name: "UEFI HTTP, no ROM: `ipxe.efi`", firmware: Firmware::UefiHttp, plain_pxe: false, rom: false },
    Mode { name: "UEFI HTTP, ROM: `ipxe.efi`", firmware: Firmware::UefiHttp, plain_pxe: true, rom: true },
    Mode { name: "ARM64 UEFI PXE: `ipxe-arm64.efi`", firmware: Firmware::Arm64Pxe, plain_pxe: false, rom: false },
    Mode { name: "ARM64 UEFI HTTP: `ipxe-arm64.efi`", firmware: Firmware::Arm64Http, plain_pxe: false, rom: false },
];

/// A cell of the table.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Its row.
    pub mode: Mode,
    /// Its column.
    pub card: Card,
}

impl Cell {
    /// All of them, row by row.
    #[must_use]
    pub fn all() -> Vec<Self> {
        MODES.iter().flat_map(|mode| CARDS.map(|card| Self { mode: *mode, card })).collect()
    }

    /// How it has to end. OVMF knows virtio alone; every other card has to bring a driver.
    #[must_use]
    pub fn expected(&self) -> Outcome {
        if self.mode.rom || self.card == Card::Virtio { Outcome::Boots } else { Outcome::NoDriver }
    }
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The initramfs runs, or the script.
    Boots,
    /// The firmware has no driver for this card: not one frame came out of it.
    NoDriver,
    /// Each packet of its way to the boot loader was answered as such a firmware wants it.
    Answered,
}

impl Outcome {
    /// How the table says it, with the kind of evidence.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Boots => "boots (machine)",
            Self::NoDriver => "n/a (no driver)",
            Self::Answered => "answered (packets)",
        }
    }
}

/// Settings of a boot server that holds all machines.
fn settings(rack: &Rack, cells: &[Cell]) -> Result<String> {
    let image = paths::image().canonicalize().context("there is no image; `make image` builds it")?;
    let mut text = format!("interface = \"eth0\"\nartifacts = \"{}\"\n", image.display());
    let script = rack.run().file("arm64.ipxe");
    fs::write(&script, SCRIPT)?;
    for (machine, cell) in rack.machines().iter().zip(cells) {
        let (mac, plain) = (&machine.hardware().mac, cell.mode.plain_pxe);
        let policy = if cell.mode.firmware.is_arm64() {
            format!("\"script\"\nscript_file = \"{}\"", script.display())
        } else {
            "\"hold\"".to_owned()
        };
        writeln!(text, "[[machine]]\nmac = \"{mac}\"\nplain_pxe = {plain}\npolicy = {policy}")?;
    }
    Ok(text)
}

/// How many frames this machine has sent, as a stock tcpdump counted them.
fn frames(seed: &Namespace, capture: &Path, machine: &Machine) -> Result<usize> {
    let filter = format!("ether src {}", machine.hardware().mac);
    let read = seed.command("tcpdump").args(["-nn", "-r"]).arg(capture).arg(filter).output()?;
    Ok(String::from_utf8_lossy(&read.stdout).lines().count())
}

/// Boots one machine for each cell, all at once, and waits until each has ended.
///
/// # Errors
/// When one does not end, or a card that has no driver sends.
pub fn boot(cells: &[Cell]) -> Result<Vec<Outcome>> {
    let firmware: Vec<Firmware> = cells.iter().map(|cell| cell.mode.firmware).collect();
    let mut rack = Rack::build(&RackConfig::cycled(u8::try_from(cells.len())?, &firmware))?;
    let seed = rack.computer_at("seed", 2)?;
    let settings = settings(&rack, cells)?;
    let _server = BootServer::start(rack.parts().0, &seed, &settings)?;
    let capture = rack.run().file("frames.pcap");
    let mut sniffer = seed.command("tcpdump");
    sniffer.args(["-i", "eth0", "-U", "-w"]).arg(&capture);
    let log = rack.run().file("tcpdump.log");
    let _sniffer = seed.start(rack.parts().0, sniffer, &log)?;
    wait::until("tcpdump", BOOT, || Ok(fs::read_to_string(&log)?.contains("listening on").then_some(())))?;
    for (number, cell) in (1..).zip(cells) {
        rack.machine(number)?.fit_card(cell.card, cell.mode.rom);
    }
    rack.power_on_all()?;
    let ended = wait::until("the initramfs, or a firmware that gave up", BOOT, || {
        rack.look_after()?;
        let end = |machine: &Machine| -> Result<Option<Outcome>> {
            let text = machine.serial().text_from(0)?;
            if milestone(machine, "hold")?.is_some() || text.contains(SCRIPT_RUNS) {
                return Ok(Some(Outcome::Boots));
            }
            Ok(text.contains(GAVE_UP).then_some(Outcome::NoDriver))
        };
        rack.machines().iter().map(end).collect::<Result<Option<Vec<Outcome>>>>()
    });
    let outcomes = ended.with_context(|| {
        format!("{cells:?}: {:?}", rack.machines().iter().map(Machine::milestones).collect::<Vec<_>>())
    })?;
    for ((machine, cell), outcome) in rack.machines().iter().zip(cells).zip(&outcomes) {
        let sent = frames(&seed, &capture, machine)?;
        ensure!((sent == 0) == (*outcome == Outcome::NoDriver), "{cell:?} sent {sent} frames and {outcome:?}");
    }
    Ok(outcomes)
}
