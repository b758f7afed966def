//! Installed nodes whose blessed slot is damaged: the other slot boots, whatever it is that rotted, and nobody has to come.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use meadow_rack::namespace::Namespace;
use meadow_rack::{Firmware, Rack, RackConfig, paths, wait};
use meadow_tests_vm::esp::Esp;
use meadow_tests_vm::node_disk::{self, Made};
use meadow_tests_vm::{Admin, BOOT, serial_text, wait_serial};

const PASSPHRASE: &str = "correct horse battery";
const ROOT_TYPE: &str = "6d656164-6f77-4f53-8001-000000000001";

/// Puts an image into slot b of a node's disk, as an update does; what GRUB keeps is that of an installed disk.
fn fill_slot_b(disk: &Path, image: &Path) {
    let root = File::open(image.join("root.img")).expect("a root; tests/make/image-variants makes it");
    let sectors = root.metadata().expect("a size").len().div_ceil(512);
    let table = format!("size={sectors}, type={ROOT_TYPE}, name=meadow-root-b\n");
    node_disk::append(disk, &table).expect("a partition");
    let partitions = node_disk::partitions(disk).expect("partitions");
    let (_, start, _) = partitions.into_iter().find(|(name, ..)| name == "meadow-root-b").expect("a second root");
    let place = [format!("if={}", image.join("root.img").display()), format!("of={}", disk.display())];
    let seek = ["bs=1M", "conv=notrunc", "oflag=seek_bytes", "status=none"];
    let copied = Command::new("dd").args(place).args(seek).arg(format!("seek={start}")).status();
    assert!(copied.expect("dd").success());
    let esp = Esp::open(disk).expect("an ESP");
    for name in ["vmlinuz", "initrd", "uki.efi", "uki.efi.sig"] {
        esp.write("meadow/b", name, &fs::read(image.join(name)).expect("a file")).expect("written");
    }
    // Whatever it says: it makes the slot count as whole.
    esp.write("meadow/b", "root.json", b"{}").expect("written");
    let mut environment = b"# GRUB Environment Block\nblessed=a\ntry=\nattempted=\ntrial=\nfailures=0\n".to_vec();
    environment.resize(1024, b'#');
    esp.write("meadow", "grubenv", &environment).expect("written");
}

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
    file.read_exact_at(&mut byte, made.root + 12345).expect("read");
    file.write_all_at(&[byte[0] ^ 4], made.root + 12345).expect("written");
}

/// Opens the state at the newest prompt.
fn open(rack: &mut Rack, admin: &Admin, person: &Namespace, number: usize) {
    let line = wait::until("a prompt", BOOT, || {
        rack.look_after()?;
        Ok(serial_text(rack, number)
            .lines()
            .rfind(|line| line.contains("unlock over the network: "))
            .map(str::to_owned))
    });
    let line = line.unwrap_or_else(|error| panic!("node-{number}: {error:#}: {}", serial_text(rack, number)));
    let address = line.trim().rsplit_once('@').expect("an address").1.parse().expect("an address");
    let key = wait::until("SSH", BOOT, || {
        rack.look_after()?;
        Ok(admin.fetch_host_key(person, address).ok())
    });
    key.expect("a host key");
    let opened = admin.unlock(person, address, PASSPHRASE).expect("ssh");
    assert!(opened.status.success(), "{opened:?}");
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
    disks.iter().for_each(|disk| fill_slot_b(disk, &next));
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
    open(&mut rack, &admin, &person, 4);
    wait_serial(&mut rack, 4, &["slot a: its root is damaged and no server has it", "Meadow: slot b"]);
    // Whoever stands in is no trial: it is kept, and boots to its end.
    open(&mut rack, &admin, &person, 3);
    wait_serial(&mut rack, 3, &["root verified slot b", "NO CLUSTER"]);
}
