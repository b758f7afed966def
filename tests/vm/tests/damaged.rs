//! Nodes whose disk flipped bits, and one whose cable comes late: each says what is wrong, and is opened.

use std::fs::File;
use std::os::unix::fs::FileExt;

use meadow_luks::header;
use meadow_rack::{Firmware, Machine, Rack, RackConfig, wait};
use meadow_tests_vm::node_disk::{self, Made};
use meadow_tests_vm::{Admin, BOOT, address, milestone, wait_all, wait_serial};

const PASSPHRASE: &str = "correct horse battery";
/// In the JSON of the first copy of a LUKS2 header.
const HEADER: u64 = 0x1100;
/// In the descriptor of the first block group of an ext4 with blocks of 4 KiB: how many inodes are free.
const GROUP: u64 = 4096 + 0xe;

fn flip_bit(machine: &Machine, place: u64) {
    let disk = File::options().read(true).write(true).open(&machine.hardware().disk).expect("opened");
    let mut byte = [0];
    disk.read_exact_at(&mut byte, place).expect("read");
    disk.write_all_at(&[byte[0] ^ 4], place).expect("written");
}

#[test]
fn flipped_bits_and_a_late_cable_are_said_and_there_is_a_way_on() {
    let mut rack = Rack::build(&RackConfig::cycled(3, &[Firmware::BiosPxe])).expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    let make = |machine: &Machine| node_disk::of_machine(&rack, machine, &admin, PASSPHRASE).expect("a disk");
    let made: Vec<Made> = rack.machines().iter().map(make).collect();
    flip_bit(&rack.machines()[0], made[0].state + HEADER);
    flip_bit(&rack.machines()[1], made[1].state + node_disk::HEADER_BYTES + GROUP);
    let person = rack.computer_at("person", 2).expect("a computer");
    for number in 1..=3 {
        rack.machine(number).expect("there").boot_from_disk();
    }
    rack.power_on_all().expect("power");
    // It listens for that a moment after its start.
    let pulled = wait::until("QEMU", BOOT, || Ok(rack.machine(3)?.set_cable(false).ok()));
    pulled.expect("the cable is pulled");

    wait_all(&mut rack, "unlock waiting");
    let first = "the first copy of the LUKS2 header on /dev/vda6 is damaged; the other one is whole";
    wait_serial(&mut rack, 1, &[first]);
    assert_eq!(milestone(&rack.machines()[2], "network ").expect("read"), None, "its cable is not in");
    rack.machine(3).expect("there").set_cable(true).expect("plugged in");
    for line in wait_all(&mut rack, "network ") {
        let address = address(&line).expect("an address");
        let key = wait::until("SSH", BOOT, || {
            rack.look_after()?;
            Ok(admin.fetch_host_key(&person, address).ok())
        });
        key.expect("a host key");
        let opened = admin.unlock(&person, address, PASSPHRASE).expect("ssh");
        assert!(opened.status.success(), "{opened:?}");
    }
    wait_all(&mut rack, "unlocked");
    wait_serial(&mut rack, 2, &["and was repaired (e2fsck ended with"]);
    wait_all(&mut rack, "switch-root");

    rack.machine(1).expect("there").power_off().expect("off");
    let copies = header::inspect_at(&rack.machines()[0].hardware().disk, made[0].state).expect("read");
    assert_eq!(copies.damaged(), None, "the first copy is repaired from the second one");
}
