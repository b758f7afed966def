//! Three cells of the table of firmware, so that every run of the tests has a BIOS, UEFI and ARM64, and a card of each kind, with
//! and without a ROM. `firmware.rs` has them all, and is slow.

use meadow_rack::card::Card;
use meadow_tests_vm::firmware_cell::{Cell, MODES, Outcome, boot};

/// Rows of the table, by their names, and a card for each.
const SAMPLE: [(&str, Card); 3] = [
    ("BIOS, ROM as plain PXE: `undionly.kpxe`", Card::E1000),
    ("UEFI PXE, ROM: `snponly.efi`", Card::Rtl8139),
    ("ARM64 UEFI PXE: `ipxe-arm64.efi`", Card::Virtio),
];

#[test]
fn a_bios_uefi_and_arm64_boot_with_three_kinds_of_cards() {
    let cells = SAMPLE.map(|(name, card)| {
        let mode = MODES.into_iter().find(|mode| mode.name == name).expect("a row");
        Cell { mode, card }
    });
    let outcomes = boot(&cells).expect("every cell ends");
    assert_eq!(outcomes, [Outcome::Boots, Outcome::Boots, Outcome::Boots], "{cells:?}");
}
