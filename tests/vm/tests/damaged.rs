//! Nodes whose disk flipped bits, and that have no network: each says what is wrong, and is opened.

use std::fs::File;
use std::os::unix::fs::FileExt;

use meadow_luks::header;
use meadow_rack::{Firmware, Machine, Rack, RackConfig, wait};
use meadow_tests_vm::node_disk::{self, Made};
use meadow_tests_vm::{Admin, BOOT, address, milestone, pull_cable, serial_text, wait_all, wait_screen, wait_serial};

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

/// Its own line of an address, once it has one.
fn wait_network(rack: &mut Rack, number: usize) -> String {
    let line = wait::until("an address", BOOT, || {
        rack.look_after()?;
        milestone(rack.machine(number)?, "network ")
    });
    line.unwrap_or_else(|error| panic!("node-{number}: {error:#}: {}", serial_text(rack, number)))
}

/// The first one finds no DHCP server, the others have their cable pulled. One is opened at its console and boots to its end, and
/// all have an address as soon as there is one.
#[test]
fn flipped_bits_and_a_missing_network_are_said_and_there_is_a_way_on() {
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
    rack.switch_router_off().expect("off");
    rack.power_on_all().expect("power");
    pull_cable(&mut rack, 2);
    pull_cable(&mut rack, 3);

    wait_all(&mut rack, "unlock waiting");
    let first = "the first copy of the LUKS2 header on /dev/vda6 is damaged; the other one is whole";
    let offline = "no network so far, so the passphrase can only be typed here: eth0";
    wait_serial(&mut rack, 1, &[first, offline, "no DHCP server answers: is the router on?"]);
    wait_serial(&mut rack, 2, &[offline, "plug in a network cable"]);
    wait_serial(&mut rack, 3, &[offline, "plug in a network cable"]);
    rack.machine(2).expect("there").type_text(&format!("{PASSPHRASE}\r")).expect("typed");
    wait_serial(&mut rack, 2, &["and was repaired (e2fsck ended with"]);
    wait_screen(&mut rack, 2, &["NO CLUSTER", "none yet: check the cable and the router"]);
    assert!(rack.machines().iter().all(|machine| milestone(machine, "network ").expect("read").is_none()));

    rack.switch_router_on().expect("on");
    for number in [2, 3] {
        rack.machine(number).expect("there").set_cable(true).expect("plugged in");
    }
    for number in [1, 3] {
        let address = address(&wait_network(&mut rack, number)).expect("an address");
        let key = wait::until("SSH", BOOT, || {
            rack.look_after()?;
            Ok(admin.fetch_host_key(&person, address).ok())
        });
        key.expect("a host key");
        let opened = admin.unlock(&person, address, PASSPHRASE).expect("ssh");
        assert!(opened.status.success(), "{opened:?}");
    }
    wait_all(&mut rack, "switch-root");
    let prefix = rack.lan().subnet().to_string();
    let prefix = prefix.trim_end_matches("0/24");
    wait_screen(&mut rack, 2, &[&format!("eth0 {prefix}")]);
    for number in 1..=3 {
        assert_eq!(serial_text(&rack, number).matches("meadow: init ").count(), 1, "node-{number} restarted");
    }

    rack.machine(1).expect("there").power_off().expect("off");
    let copies = header::inspect_at(&rack.machines()[0].hardware().disk, made[0].state).expect("read");
    assert_eq!(copies.damaged(), None, "the first copy is repaired from the second one");
}
