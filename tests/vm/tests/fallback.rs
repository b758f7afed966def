//! Installed nodes whose blessed slot is damaged: the other slot boots, whatever it is that rotted, and nobody has to come.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use meadow_rack::{Firmware, Rack, RackConfig, paths};
use meadow_tests_vm::esp::Esp;
use meadow_tests_vm::node_disk::{self, Made};
use meadow_tests_vm::{Admin, serial_text, wait_serial};

const PASSPHRASE: &str = "correct horse battery";

fn flip_in_slot_a(disk: &Path, name: &str) {
    let esp = Esp::open(disk).expect("an ESP");
    let mut bytes = esp.read(&format!("meadow/a/{name}")).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    esp.write("meadow/a", name, &bytes).expect("written");
}

fn flip_in_root_a(disk: &Path, made: &Made) {
    let file = File::options().read(true).write(true).open(disk).expect("opened");
    let mut byte = [0];
    // In the hash tree, which lies behind the file system.
    let place = made.root + fs::metadata(paths::image().join("root.img")).expect("a root").len() - 8192;
    file.read_exact_at(&mut byte, place).expect("read");
    file.write_all_at(&[byte[0] ^ 4], place).expect("written");
}

#[test]
fn the_other_slot_boots_where_the_blessed_one_is_damaged() {
    let firmware = [Firmware::BiosPxe, Firmware::UefiPxe, Firmware::BiosPxe, Firmware::BiosPxe];
    let mut rack = Rack::build(&RackConfig::cycled(4, &firmware)).expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    let next = paths::image_variant("image-next").canonicalize().expect("tests/make/image-variants makes it");
    let disks: Vec<_> = rack.machines().iter().map(|machine| machine.hardware().disk.clone()).collect();
    let make = |machine| node_disk::of_machine(&rack, machine, &admin, PASSPHRASE).expect("a disk");
    let made: Vec<Made> = rack.machines().iter().map(make).collect();
    disks
        .iter()
        .for_each(|disk| node_disk::fill_slot_b(disk, &next, "blessed=a\ntry=\nattempted=\n").expect("a second slot"));
    flip_in_slot_a(&disks[0], "initrd");
    flip_in_slot_a(&disks[1], "uki.efi");
    // An initrd that was built wrong: the kernel finds no init in it, panics and starts again.
    let esp = Esp::open(&disks[2]).expect("an ESP");
    esp.write("meadow/a", "initrd", b"no archive").expect("written");
    esp.write("meadow/a", "pc.sha256", b"").expect("written");
    drop(esp);
    flip_in_root_a(&disks[3], &made[3]);
    for number in 1..=4 {
        let machine = rack.machine(number).expect("there");
        machine.boot_from_disk();
        machine.expect_restart();
        rack.power_on(number).expect("power");
    }

    for number in [1, 2] {
        wait_serial(&mut rack, number, &["slot a is damaged", "Meadow: slot b", "unlock waiting"]);
    }
    assert_eq!(serial_text(&rack, 1).matches("GRUB loading").count(), 1, "nothing damaged is started");
    wait_serial(&mut rack, 3, &["Meadow: slot a did not start three times", "Meadow: slot b", "unlock waiting"]);
    assert_eq!(serial_text(&rack, 3).matches("GRUB loading").count(), 4, "three panics, and the other slot");
    let person = rack.computer_at("person", 2).expect("a computer");
    admin.open_at_newest_prompt(&mut rack, &person, 4, PASSPHRASE);
    wait_serial(&mut rack, 4, &["slot a: its root is damaged and no server has it", "Meadow: slot b"]);
    // Whoever stands in is no trial: it is kept, and boots to its end.
    admin.open_at_newest_prompt(&mut rack, &person, 3, PASSPHRASE);
    wait_serial(&mut rack, 3, &["root verified slot b", "NO CLUSTER"]);
}
