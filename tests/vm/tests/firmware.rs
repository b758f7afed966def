//! Every firmware, network card and way to boot that QEMU can play, to the initramfs; on ARM64, for which there is no image,
//! to a script of iPXE. HTTP boot of a BIOS, of which no firmware is at hand, packet by packet. Slow: `make soak` runs it, and
//! with `UPDATE=1` it writes the table of `docs/specification.md`. `firmware_sample.rs` has three of its cells.

use std::fs;

use anyhow::{Result, ensure};
use meadow_rack::{paths, versions};
use meadow_tests_netns::{HttpBoot, Net};
use meadow_tests_vm::firmware_cell::{CARDS, Cell, MODES, Outcome, boot};

/// At once; more would keep two processors waiting for each other.
const TOGETHER: usize = 3;
/// A way to boot that no firmware here knows, with its number in DHCP option 93. At packet level a card plays no part.
const AT_PACKET_LEVEL: (&str, u16) = ("BIOS HTTP: `undionly.kpxe`", 20);
const BEGIN: &str = "<!-- tests/vm/tests/firmware.rs writes this table -->\n";
const END: &str = "<!-- end of the table -->\n";

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
