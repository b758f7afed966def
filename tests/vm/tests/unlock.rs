//! A node boots from its own disk, without any server, and is unlocked over a stock ssh; strangers get nothing.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::Result;
use meadow_rack::namespace::Namespace;
use meadow_rack::{Firmware, Machine, Rack, RackConfig, paths, wait};
use meadow_tests_vm::node_disk::{self, Made};
use meadow_tests_vm::{Admin, BOOT, address, milestone, wait_all, wait_screen};

const PASSPHRASE: &str = "correct horse battery";

/// The host key that SSH shows, as soon as SSH is there: the prompt on the console does not wait for it.
fn host_key(rack: &mut Rack, admin: &Admin, from: &Namespace, address: IpAddr) -> String {
    let key = wait::until("SSH", BOOT, || {
        rack.look_after()?;
        Ok(admin.fetch_host_key(from, address).ok())
    });
    key.expect("a host key")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn make_disks(rack: &Rack, admin: &Admin) -> Vec<Made> {
    let make = |machine: &Machine| node_disk::of_machine(rack, machine, admin, PASSPHRASE);
    rack.machines().iter().map(make).collect::<Result<Vec<Made>>>().expect("disks")
}

/// Behind both copies of the header: what the passphrase opens.
const FIRST_SLOT: u64 = 32 << 10;

/// Flips a bit in the key slot of the passphrase; the header with all slots from before, as a file.
fn damage_key_slot(rack: &Rack, machine: &Machine, made: &Made) -> PathBuf {
    let disk = File::options().read(true).write(true).open(&machine.hardware().disk).expect("a disk");
    let length = usize::try_from(node_disk::HEADER_BYTES).expect("a length");
    let mut header = vec![0; length];
    disk.read_exact_at(&mut header, made.state).expect("read");
    let file = rack.run().file("header");
    std::fs::write(&file, &header).expect("written");
    let damaged = usize::try_from(FIRST_SLOT + 1000).expect("a place");
    let byte = header[damaged] ^ 4;
    disk.write_all_at(&[byte], made.state + FIRST_SLOT + 1000).expect("written");
    file
}

/// No checksum covers a key slot, so the right passphrase is a wrong one.
fn a_damaged_key_slot_is_put_back(admin: &Admin, from: &Namespace, address: IpAddr, header: &Path) {
    admin.fetch_host_key(from, address).expect("a host key");
    let wrong = admin.unlock(from, address, PASSPHRASE).expect("ssh");
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("2 wrong so far"), "{wrong:?}");
    let header = File::open(header).expect("a header");
    let restored = admin.ssh_command(from, address, &[]).arg("restore-header").stdin(header).output().expect("ssh");
    assert!(restored.status.success() && said(&restored).contains("the header is restored"), "{restored:?}");
    let status = admin.ssh(from, address, &["status"]).expect("ssh");
    assert!(said(&status).contains("unlocked: no") && !said(&status).contains("wrong so far"), "{status:?}");
}

fn strangers_get_nothing(rack: &Rack, admin: &Admin, from: &Namespace, address: IpAddr) {
    let folder = rack.run().file(format!("stranger-{address}"));
    std::fs::create_dir(&folder).expect("a folder");
    let stranger = Admin::create(&folder).expect("a key");
    stranger.fetch_host_key(from, address).expect("a host key");
    let refused = stranger.ssh(from, address, &["status"]).expect("ssh");
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");

    let command = admin.ssh(from, address, &["cat", "/etc/passwd"]).expect("ssh");
    assert_eq!(command.status.code(), Some(2), "{command:?}");
    assert!(!said(&command).contains("root:"), "{command:?}");
    for forward in [["-W", "127.0.0.1:2222"], ["-R", "9999:127.0.0.1:1"]] {
        let options = [forward[0], forward[1], "-o", "ExitOnForwardFailure=yes"];
        let mut ssh = admin.ssh_command(from, address, &options);
        let forwarded = ssh.stdin(Stdio::null()).output().expect("ssh");
        assert_eq!(forwarded.status.code(), Some(255), "{forward:?}: {forwarded:?}");
    }
}

/// `meadow unlock` on a computer that knows no cluster, with what stands on the node's console.
fn without_a_cluster(
    rack: &Rack,
    admin: &Admin,
    from: &Namespace,
    address: IpAddr,
    host_key: &str,
    secret: &str,
) -> Output {
    let (home, file) = (rack.run().file("empty"), rack.run().file("secret"));
    std::fs::create_dir_all(&home).expect("a folder");
    std::fs::write(&file, secret).expect("written");
    let mut meadow = from.command(paths::programs().join("meadow"));
    meadow.env("HOME", &home).env_remove("XDG_CONFIG_HOME").env_remove("MEADOW_CONTEXT");
    meadow.args(["unlock", "node-2", "--address", &address.to_string(), "--host-key", host_key]);
    meadow.arg("--identity").arg(admin.private_key()).arg("--passphrase-file").arg(&file);
    meadow.output().expect("meadow runs")
}

#[test]
fn a_node_is_unlocked_over_ssh_and_reaches_its_root_and_strangers_get_nothing() {
    let mut rack = Rack::build(&RackConfig::cycled(2, &[Firmware::BiosPxe, Firmware::UefiPxe])).expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    let made = make_disks(&rack, &admin);
    let header = damage_key_slot(&rack, &rack.machines()[0], &made[0]);
    let person = rack.computer_at("person", 2).expect("a computer");
    for number in 1..=2 {
        rack.machine(number).expect("there").boot_from_disk();
    }
    rack.power_on_all().expect("power");

    let prompts = wait_all(&mut rack, "unlock waiting");
    let networks = wait_all(&mut rack, "network ");
    let addresses: Vec<IpAddr> = networks.iter().map(|line| address(line).expect("an address")).collect();
    for (address, (prompt, made)) in addresses.iter().zip(prompts.iter().zip(&made)) {
        let shown = host_key(&mut rack, &admin, &person, *address);
        assert_eq!(shown, made.fingerprint, "the host key is the disk's own");
        assert!(prompt.contains(&made.fingerprint), "the console shows `{prompt}`");
        strangers_get_nothing(&rack, &admin, &person, *address);
        let status = admin.ssh(&person, *address, &["status"]).expect("ssh");
        assert!(status.status.success() && said(&status).contains("unlocked: no"), "{status:?}");
        let wrong = admin.unlock(&person, *address, "not this one").expect("ssh");
        assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
        assert!(said(&wrong).contains("1 wrong so far"), "{wrong:?}");
    }
    assert!(rack.machines().iter().all(|machine| milestone(machine, "unlocked").expect("read").is_none()));

    a_damaged_key_slot_is_put_back(&admin, &person, addresses[0], &header);
    // One by its passphrase and a stock ssh, one by its recovery key and `meadow unlock`.
    let opened = admin.unlock(&person, addresses[0], PASSPHRASE).expect("ssh");
    assert!(opened.status.success() && said(&opened).contains("is unlocked"), "{opened:?}");
    let key = &made[1].recovery_key;
    let other = without_a_cluster(&rack, &admin, &person, addresses[1], &made[0].fingerprint, key);
    assert!(other.status.code() == Some(4) && said(&other).contains("SOMEBODY ELSE ANSWERS"), "{other:?}");
    let opened = without_a_cluster(&rack, &admin, &person, addresses[1], &made[1].fingerprint, key);
    assert!(opened.status.success() && said(&opened).contains("is unlocked"), "{opened:?}");
    let kinds = wait_all(&mut rack, "unlocked");
    assert!(kinds[0].contains("passphrase") && kinds[1].contains("recovery"), "{kinds:?}");
    wait_all(&mut rack, "state mounted");
    wait_all(&mut rack, "root verified slot a");
    wait_all(&mut rack, "switch-root");
    let screens = wait::until("the root's own console", BOOT, || {
        rack.look_after()?;
        let up = |machine: &Machine| machine.serial().text_from(0).is_ok_and(|text| text.contains("NO CLUSTER"));
        Ok(rack.machines().iter().all(up).then_some(()))
    });
    screens.expect("the agent runs");
    network_settings_are_tried_on_the_console_and_only_kept_ones_survive_a_power_cut(&mut rack, addresses[0]);
}

fn network_settings_are_tried_on_the_console_and_only_kept_ones_survive_a_power_cut(rack: &mut Rack, dhcp: IpAddr) {
    let IpAddr::V4(dhcp) = dhcp else { panic!("{dhcp}") };
    let [a, b, c, _] = dhcp.octets();
    // Outside of what the router gives out.
    let host = |last: u8| format!("{a}.{b}.{c}.{last}/24");
    let before = dhcp.to_string();
    rack.machine(1).expect("there").type_text("s").expect("typed");
    wait_screen(rack, 1, &["Power off?", "YES, it is safe now", "DHCP", &before]);
    let set = |rack: &mut Rack, from: &str, address: &str| {
        let erased = "\x7f".repeat(from.len());
        let mode = if from.is_empty() { " " } else { "" };
        let keys = format!("n\t\t{mode}\t{erased}{address}\r");
        rack.machine(1).expect("there").type_text(&keys).expect("typed");
        wait_screen(rack, 1, &["TRIED"]);
    };

    set(rack, "", &host(250));
    // Nobody says anything, so the address of before comes back.
    wait_screen(rack, 1, &["Enter try for 60 s", &format!("DHCP {before}/24 via"), "Told DHCP"]);

    rack.machine(1).expect("there").type_text("\x1b").expect("typed");
    wait_screen(rack, 1, &["Own disk"]);
    set(rack, "", &host(251));
    rack.machine(1).expect("there").type_text("k").expect("typed");
    wait_screen(rack, 1, &["kept, also for the next start"]);

    // Another trial, and the power goes meanwhile.
    rack.machine(1).expect("there").type_text("\x1b").expect("typed");
    wait_screen(rack, 1, &["Own disk", &host(251)]);
    set(rack, &host(251), &host(252));
    rack.machine(1).expect("there").power_off().expect("off");
    rack.machine(2).expect("there").power_off().expect("off");
    rack.power_on(1).expect("power");
    // DHCP answers first, before the record is read; what is told to a person is what counts.
    let told = wait::until("where it is unlocked", BOOT, || {
        rack.look_after()?;
        let text = rack.machines()[0].serial().text_from(0)?;
        let told = text.rsplit_once("unlock over the network: ").and_then(|(_, told)| told.split_once('\n'));
        Ok(told.map(|(line, _)| line.trim_end().to_owned()))
    });
    let host = format!("root@{a}.{b}.{c}.251");
    assert!(told.as_ref().is_ok_and(|told| told.ends_with(&host)), "{told:?}");
}

#[test]
fn a_flipped_bit_in_the_root_is_said_and_is_no_restart_loop() {
    let mut rack = Rack::build(&RackConfig::cycled(1, &[Firmware::BiosPxe])).expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    let made = make_disks(&rack, &admin).remove(0);
    let disk = File::options().read(true).write(true).open(&rack.machines()[0].hardware().disk).expect("open");
    let mut byte = [0];
    disk.read_exact_at(&mut byte, made.root + (40 << 20)).expect("read");
    disk.write_all_at(&[byte[0] ^ 4], made.root + (40 << 20)).expect("written");
    rack.machine(1).expect("there").boot_from_disk();
    rack.power_on_all().expect("power");
    let person = rack.computer_at("person", 2).expect("a computer");
    let networks = wait_all(&mut rack, "network ");
    let address = address(&networks[0]).expect("an address");
    wait_all(&mut rack, "unlock waiting");
    host_key(&mut rack, &admin, &person, address);
    let opened = admin.unlock(&person, address, PASSPHRASE).expect("ssh");
    assert!(opened.status.success(), "{opened:?}");
    let told = wait::until("the message", Duration::from_secs(120), || {
        rack.look_after()?;
        let text = rack.machines()[0].serial().text_from(0)?;
        let told = text.contains("slot a on vda3 does not hold the root of this initrd")
            && text.contains("no Meadow server answers either: both are tried again");
        Ok(told.then_some(text))
    });
    let text = told.expect("it says what is wrong");
    assert_eq!(text.matches("meadow: init ").count(), 1, "it restarted");
    // SSH stays, and says how it is.
    let status = admin.ssh(&person, address, &["status"]).expect("ssh");
    assert!(said(&status).contains("unlocked: by ssh"), "{status:?}");
}
