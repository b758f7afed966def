//! Every firmware, network card and way to boot that QEMU can play, to the initramfs; on ARM64, for which there is no image,
//! to a script of iPXE. HTTP boot of a BIOS, of which no firmware is at hand, packet by packet. Slow: `make soak` runs it, and
//! with `UPDATE=1` it writes the table of `docs/specification.md`.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::card::Card;
use meadow_rack::namespace::Namespace;
use meadow_rack::{Firmware, Machine, Rack, RackConfig, paths, versions, wait};
use meadow_tests_netns::{HttpBoot, Net};
use meadow_tests_vm::{BOOT, milestone};

/// At once; more would keep two processors waiting for each other.
const TOGETHER: usize = 3;
const CARDS: [Card; 3] = [Card::Virtio, Card::E1000, Card::Rtl8139];
/// What OVMF starts when it has tried everything else.
const GAVE_UP: &str = "UEFI Interactive Shell";
/// What the script for ARM64 says, without being there in one piece.
const SCRIPT: &str = "#!ipxe\necho the script ${undefined}runs on ${buildarch}\nsleep 3600\n";
const SCRIPT_RUNS: &str = "the script runs on arm64";
/// A way to boot that no firmware here knows, with its number in DHCP option 93. At packet level a card plays no part.
const AT_PACKET_LEVEL: (&str, u16) = ("BIOS HTTP: `undionly.kpxe`", 20);
const BEGIN: &str = "<!-- tests/vm/tests/firmware.rs writes this table -->\n";
const END: &str = "<!-- end of the table -->\n";

/// A way to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    name: &'static str,
    firmware: Firmware,
    /// Whether an iPXE in a ROM is given our boot loader, as plain PXE firmware is.
    plain_pxe: bool,
    /// Whether the card has a ROM.
    rom: bool,
}

/// A BIOS boots no card without a ROM, which is why there is no such row. No card has a ROM for ARM64.
const MODES: [Mode; 8] = [
    Mode { name: "BIOS, iPXE in the card's ROM", firmware: Firmware::BiosPxe, plain_pxe: false, rom: true },
    Mode { name: "BIOS, ROM as plain PXE: `undionly.kpxe`", firmware: Firmware::BiosPxe, plain_pxe: true, rom: true },
    Mode { name: "UEFI PXE, no ROM: `snponly.efi`", firmware: Firmware::UefiPxe, plain_pxe: false, rom: false },
    Mode { name: "UEFI PXE, ROM: `snponly.efi`", firmware: Firmware::UefiPxe, plain_pxe: true, rom: true },
    Mode { name: "UEFI HTTP, no ROM: `ipxe.efi`", firmware: Firmware::UefiHttp, plain_pxe: false, rom: false },
    Mode { name: "UEFI HTTP, ROM: `ipxe.efi`", firmware: Firmware::UefiHttp, plain_pxe: true, rom: true },
    Mode { name: "ARM64 UEFI PXE: `ipxe-arm64.efi`", firmware: Firmware::Arm64Pxe, plain_pxe: false, rom: false },
    Mode { name: "ARM64 UEFI HTTP: `ipxe-arm64.efi`", firmware: Firmware::Arm64Http, plain_pxe: false, rom: false },
];

#[derive(Clone, Copy, Debug)]
struct Cell {
    mode: Mode,
    card: Card,
}

impl Cell {
    fn all() -> Vec<Self> {
        MODES.iter().flat_map(|mode| CARDS.map(|card| Self { mode: *mode, card })).collect()
    }

    /// How it has to end. OVMF knows virtio alone; every other card has to bring a driver.
    fn expected(&self) -> Outcome {
        if self.mode.rom || self.card == Card::Virtio { Outcome::Boots } else { Outcome::NoDriver }
    }
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The initramfs runs, or the script.
    Boots,
    /// The firmware has no driver for this card: not one frame came out of it.
    NoDriver,
    /// Each packet of its way to the boot loader was answered as such a firmware wants it.
    Answered,
}

impl Outcome {
    /// How the table says it, with the kind of evidence.
    fn words(&self) -> &'static str {
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
fn frames(seed: &Namespace, capture: &std::path::Path, machine: &Machine) -> Result<usize> {
    let filter = format!("ether src {}", machine.hardware().mac);
    let read = seed.command("tcpdump").args(["-nn", "-r"]).arg(capture).arg(filter).output()?;
    Ok(String::from_utf8_lossy(&read.stdout).lines().count())
}

fn boot(cells: &[Cell]) -> Result<Vec<Outcome>> {
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

/// Goes the way that no firmware here knows, against the boot server and beside a stock router.
fn at_packet_level() -> Result<Outcome> {
    let mut net = Net::build()?;
    let _server = net.serve("image")?;
    let boot = HttpBoot::play(&mut net, AT_PACKET_LEVEL.1)?;
    ensure!(boot.program == net.artifacts().read("ipxe/undionly.kpxe")?, "{} is no loader of a BIOS", boot.url);
    Ok(Outcome::Answered)
}

fn row(name: &str, words: [&str; 3]) -> String {
    format!("| {name} | {} |\n", words.join(" | "))
}

fn table(cells: &[Cell], outcomes: &[Outcome], packets: &Outcome) -> String {
    let mut text = String::from("| firmware and mode | virtio | e1000 | rtl8139 |\n| --- | --- | --- | --- |\n");
    for mode in MODES {
        let words = CARDS.map(|card| {
            let of = |cell: &Cell| cell.mode == mode && cell.card == card;
            cells.iter().position(of).and_then(|at| outcomes.get(at)).map_or("not tried", Outcome::words)
        });
        text += &row(mode.name, words);
    }
    text + &row(AT_PACKET_LEVEL.0, [packets.words(); 3])
}

/// The table alone: what is behind it says on which versions it was tried, which others may not have.
fn rows(written: &str) -> &str {
    written.find("\n\n").map_or(written, |at| &written[..=at])
}

/// The specification's text before its table, the table, and the text behind it.
fn specification() -> [String; 3] {
    let text = fs::read_to_string(paths::checkout().join("docs/specification.md")).expect("the specification");
    let (before, rest) = text.split_once(BEGIN).expect("the table's begin");
    let (table, after) = rest.split_once(END).expect("the table's end");
    [before.to_owned(), table.to_owned(), after.to_owned()]
}

#[test]
fn a_bios_that_boots_over_http_is_answered_packet_by_packet_as_the_table_says() {
    let packets = at_packet_level().expect("each step is answered");
    // The other rows are those of machines, which the other test boots and writes.
    let cells = Cell::all();
    let expected: Vec<Outcome> = cells.iter().map(Cell::expected).collect();
    let ([_, written, _], new) = (specification(), table(&cells, &expected, &packets));
    assert!(std::env::var_os("UPDATE").is_some() || rows(&written) == new, "{written}\n{new}");
}

#[test]
fn every_firmware_card_and_mode_boots_or_has_no_driver() {
    let cells = Cell::all();
    let packets = at_packet_level().expect("each step is answered");
    let mut outcomes = Vec::new();
    for group in cells.chunks(TOGETHER) {
        outcomes.extend(boot(group).expect("every cell ends"));
        eprintln!("{}", table(&cells, &outcomes, &packets));
    }
    for (cell, outcome) in cells.iter().zip(&outcomes) {
        assert_eq!(*outcome, cell.expected(), "{cell:?}");
    }
    let [before, old, after] = specification();
    let new = table(&cells, &outcomes, &packets);
    if std::env::var_os("UPDATE").is_some() {
        let path = paths::checkout().join("docs/specification.md");
        let versions = versions::of_firmware().expect("packages");
        let tried = format!("\nTried with {versions}.\n");
        fs::write(path, [&before, BEGIN, &new, &tried, END, &after].concat()).expect("written");
    } else {
        assert!(new == rows(&old), "the table of docs/specification.md is another one: UPDATE=1 writes it");
    }
}
