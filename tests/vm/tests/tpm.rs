//! A node whose state a TPM opens: by itself for the image that was built, for its PIN where it has one; another machine and
//! another image ask for the passphrase and say why.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use meadow_rack::tpm::Tpm;
use meadow_rack::{Firmware, Machine, Rack, RackConfig, paths, wait};
use meadow_tests_vm::esp::Esp;
use meadow_tests_vm::node_disk::{self, Made, Wanted};
use meadow_tests_vm::sealer::Sealer;
use meadow_tests_vm::{Admin, BOOT, address, milestone};
use meadow_tpm::{Pin, uki};

const PASSPHRASE: &str = "correct horse battery";
const PIN: &str = "4711";

/// Gives the machine a TPM, and a disk whose state that one opens.
fn seal(rack: &mut Rack, number: usize, admin: &Admin, pin: Option<&str>) -> Made {
    let name = format!("node-{number}");
    let chip = Tpm::in_folder(&rack.run().file(format!("{name}.tpm"))).expect("a TPM");
    let folder = rack.run().file(format!("{name}.parts"));
    fs::create_dir(&folder).expect("a folder");
    let pin = pin.map(|pin| Pin::new(pin).expect("a PIN"));
    let mut sealer = Sealer::start(rack, &chip, pin).expect("swtpm");
    let wanted = Wanted {
        node: name.parse().expect("a name"),
        authorized_keys: vec![admin.public_key().expect("a key")],
        network: Vec::new(),
        passphrase: PASSPHRASE.to_owned(),
    };
    let machine = rack.machine(number).expect("there");
    machine.plug_in_tpm(chip);
    machine.boot_from_disk();
    node_disk::write_with(&machine.hardware().disk, &folder, &wanted, Some(&mut sealer)).expect("a disk")
}

fn until<T>(rack: &mut Rack, number: usize, what: &str, find: impl Fn(&Machine) -> Option<T>) -> T {
    let found = wait::until(what, BOOT, || {
        rack.look_after()?;
        Ok(find(&rack.machines()[number - 1]))
    });
    let text = || rack.machines()[number - 1].serial().text_from(0).expect("a log");
    found.unwrap_or_else(|error| panic!("{error:#}: {}", text()))
}

fn wait_milestone(rack: &mut Rack, number: usize, prefix: &str) -> String {
    until(rack, number, prefix, |machine| milestone(machine, prefix).expect("a log"))
}

fn wait_text(rack: &mut Rack, number: usize, text: &str) {
    until(rack, number, text, |machine| machine.serial().text_from(0).expect("a log").contains(text).then_some(()));
}

#[test]
fn the_tpm_opens_the_state_for_the_image_that_was_built_and_for_nobody_else() {
    let mut rack = Rack::build(&RackConfig::cycled(3, &[Firmware::UefiPxe])).expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    seal(&mut rack, 1, &admin, None);
    let with_pin = seal(&mut rack, 2, &admin, Some(PIN));
    // A thief's copy of the first one's disk, beside a TPM of his own.
    let thief = Tpm::in_folder(&rack.run().file("thief.tpm")).expect("a TPM");
    let copied = rack.machines()[0].hardware().disk.clone();
    let machine = rack.machine(3).expect("there");
    machine.plug_in_tpm(thief);
    machine.boot_from_disk();
    fs::copy(copied, &machine.hardware().disk).expect("copied");
    let person = rack.computer_at("person", 2).expect("a computer");
    rack.power_on_all().expect("power");

    let opened = wait_milestone(&mut rack, 1, "unlocked");
    assert!(opened.contains("tpm2 slot 2 by the TPM"), "{opened}");
    wait_milestone(&mut rack, 1, "state mounted");
    wait_milestone(&mut rack, 1, "switch-root");
    assert_eq!(milestone(&rack.machines()[0], "unlock waiting").expect("a log"), None, "somebody was asked");

    // The host key is given back without a PIN, and is the node's own.
    let prompt = wait_milestone(&mut rack, 2, "unlock waiting");
    assert!(prompt.contains(&with_pin.fingerprint), "{prompt}");
    wait_text(&mut rack, 2, "this TPM slot needs its PIN");
    let network = wait_milestone(&mut rack, 2, "network ");
    let address = address(&network).expect("an address");
    let shown = wait::until("SSH", BOOT, || Ok(admin.fetch_host_key(&person, address).ok())).expect("a host key");
    assert_eq!(shown, with_pin.fingerprint);
    for (pin, code, said) in [("1234", 1, "this is not the PIN"), (PIN, 0, "is unlocked")] {
        let mut ssh = admin.ssh_command(&person, address, &[]);
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh");
        child.stdin.take().expect("input").write_all(format!("{pin}\n").as_bytes()).expect("sent");
        let output = child.wait_with_output().expect("ssh");
        let text = format!("{output:?}");
        assert!(output.status.code() == Some(code) && text.contains(said), "{text}");
    }
    let opened = wait_milestone(&mut rack, 2, "unlocked");
    assert!(opened.contains("tpm2 slot 2 by ssh"), "{opened}");

    let prompt = wait_milestone(&mut rack, 3, "unlock waiting");
    assert!(prompt.contains("new host key"), "{prompt}");
    wait_text(&mut rack, 3, "the TPM does not open the state: another TPM sealed this");
    wait_text(&mut rack, 3, "the TPM does not give the node's host key back: another TPM sealed this");
    for number in [2, 3] {
        rack.machine(number).expect("there").power_off().expect("off");
    }

    another_image_asks(&mut rack);
}

/// An image that nobody signed, in the place of the one that runs.
fn another_image_asks(rack: &mut Rack) {
    rack.machine(1).expect("there").power_off().expect("off");
    {
        let esp = Esp::open(&rack.machines()[0].hardware().disk).expect("an ESP");
        let mut image = esp.read("meadow/a/uki.efi").expect("a UKI");
        assert_eq!(image, fs::read(paths::image().join("uki.efi")).expect("an image"));
        let text = uki::section(&image, ".osrel").expect("a UKI").expect("a section").to_vec();
        let place = image.windows(text.len()).position(|window| window == text).expect("there");
        image[place] ^= 1;
        esp.write("meadow/a", "uki.efi", &image).expect("written");
        // Who changes the image changes its sums: GRUB compares against rot, not against people.
        esp.write("meadow/a", "efi.sha256", b"").expect("written");
    }
    rack.power_on(1).expect("power");
    wait_milestone(rack, 1, "unlock waiting");
    wait_text(rack, 1, "what this machine started is not an image signed for this TPM slot");
}
