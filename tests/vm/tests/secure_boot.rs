//! Secure Boot with our own keys and no others: what is ours boots, is locked down and takes our ZFS; what somebody changed
//! or signed himself is refused, and the other slot boots.

use std::fs;

use data_encoding::BASE64;
use meadow_rack::{Firmware, Rack, RackConfig, paths};
use meadow_tests_vm::esp::Esp;
use meadow_tests_vm::node_disk;
use meadow_tests_vm::{forged, serial_text, wait_serial};

/// Opens ZFS's device, for which the kernel loads the module; systemd-tmpfiles(8) does it at the boot.
const OPEN_ZFS: &str = "w /dev/zfs - - - - x\n";

/// The blessed slot a is the stick's own; b is tried first and holds what `forge` makes of it.
fn put_into_b(rack: &Rack, number: usize, forge: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let disk = &rack.machines()[number - 1].hardware().disk;
    node_disk::copy_stick(disk).expect("a stick");
    let esp = Esp::open(disk).expect("an ESP");
    let uki = forge(esp.read("meadow/a/uki.efi").expect("a UKI"));
    esp.write("meadow/b", "uki.efi", &uki).expect("written");
    // By our key, as of a file that only the firmware can refuse.
    let signature = esp.read("meadow/a/uki.efi.sig").expect("a signature");
    esp.write("meadow/b", "uki.efi.sig", &signature).expect("written");
    let mut environment = b"# GRUB Environment Block\nblessed=a\ntry=b\n".to_vec();
    environment.resize(1024, b'#');
    esp.write("meadow", "grubenv", &environment).expect("written");
}

#[test]
fn our_image_boots_locked_down_with_zfs_and_changed_ones_are_refused() {
    let mut rack = Rack::build(&RackConfig::cycled(3, &[Firmware::UefiPxe])).expect("a rack");
    let certificate = fs::read(paths::image().join("secureboot.cer")).expect("a certificate; `make image` makes it");
    put_into_b(&rack, 1, |mut uki| {
        let middle = uki.len() / 2;
        uki[middle] ^= 1;
        uki
    });
    let folder = rack.run().file("stranger");
    fs::create_dir(&folder).expect("a folder");
    put_into_b(&rack, 2, |uki| forged::signed_by_another(&uki, &folder).expect("signed"));
    let stranger = fs::read(folder.join("cert.pem")).expect("a certificate");
    // A third one trusts only the stranger.
    put_into_b(&rack, 3, |uki| uki);
    let der = pem_to_der(&stranger);
    for (number, certificate) in [(1, &certificate), (2, &certificate), (3, &der)] {
        let machine = rack.machine(number).expect("there");
        machine.enrol(certificate).expect("enrolled");
        machine.boot_from_disk();
    }
    let credential = BASE64.encode(OPEN_ZFS.as_bytes());
    let more = format!("console=ttyS0 ignore_loglevel systemd.set_credential_binary=tmpfiles.extra:{credential}");
    rack.machine(1).expect("there").add_to_command_line(&more);

    rack.power_on(1).expect("power");
    rack.power_on(2).expect("power");
    let refused = ["Meadow: slot b", "Meadow: slot b cannot be loaded", "Meadow: slot a"];
    wait_serial(&mut rack, 1, &refused);
    wait_serial(
        &mut rack,
        1,
        &["Secure boot enabled", "Kernel is locked down from EFI Secure Boot", "ZFS: Loaded module"],
    );
    assert!(!serial_text(&rack, 1).contains("module verification failed"), "{}", serial_text(&rack, 1));
    wait_serial(&mut rack, 2, &refused);
    wait_serial(&mut rack, 2, &["meadow: root verified slot a", "NO CLUSTER"]);
    for number in [1, 2] {
        rack.machine(number).expect("there").power_off().expect("off");
    }

    rack.power_on(3).expect("power");
    wait_serial(&mut rack, 3, &["Access Denied"]);
    assert!(!serial_text(&rack, 3).contains("Meadow: slot"), "{}", serial_text(&rack, 3));
}

fn pem_to_der(pem: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(pem).expect("text").lines().filter(|line| !line.starts_with("---"));
    BASE64.decode(lines.collect::<String>().as_bytes()).expect("base64")
}
