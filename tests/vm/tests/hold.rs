//! The boot policy `hold`: a machine stays in the initramfs, and an admin reaches it by SSH.

use std::fmt::Write;

use anyhow::{Context, Result};
use meadow_rack::boot_server::BootServer;
use meadow_rack::{Firmware, Rack, RackConfig, paths};
use meadow_tests_vm::{Admin, address, milestone, wait_all};

/// Settings of a boot server that holds all machines of the rack.
fn settings(rack: &Rack, admin: &Admin) -> Result<String> {
    let image = paths::image().canonicalize().context("there is no image; `make image` builds it")?;
    let mut text = format!("interface = \"eth0\"\nartifacts = \"{}\"\n", image.display());
    writeln!(text, "[cluster]\nname = \"test\"\nauthorized_keys = [\"{}\"]", admin.public_key()?)?;
    for machine in rack.machines() {
        writeln!(text, "[[machine]]\nmac = \"{}\"\npolicy = \"hold\"", machine.hardware().mac)?;
    }
    Ok(text)
}

#[test]
fn every_firmware_reaches_the_initramfs_and_ssh_shows_the_fingerprint_of_the_console() {
    let mut rack = Rack::build(&RackConfig::cycled(3, &[Firmware::BiosPxe, Firmware::UefiPxe, Firmware::UefiHttp]))
        .expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    let seed = rack.computer_at("seed", 2).expect("a seed");
    let settings = settings(&rack, &admin).expect("settings");
    let _server = BootServer::start(rack.parts().0, &seed, &settings).expect("a boot server");
    rack.power_on_all().expect("power");

    let networks = wait_all(&mut rack, "network ");
    wait_all(&mut rack, "hold");
    let consoles = wait_all(&mut rack, "dropbear ");
    for (network, console) in networks.iter().zip(&consoles) {
        let address = address(network).expect("an address");
        let fingerprint = admin.fetch_host_key(&seed, address).expect("a host key");
        assert!(console.contains(&fingerprint), "the console shows `{console}`, the network {fingerprint}");

        let answer = admin.ssh(&seed, address, &[]).expect("ssh");
        let text = String::from_utf8_lossy(&answer.stdout);
        assert!(answer.status.success() && text.contains("hold"), "{answer:?}");
        // Whatever is asked for, the boot state is all that one gets.
        let forced = admin.ssh(&seed, address, &["cat", "/etc/passwd"]).expect("ssh");
        assert!(!String::from_utf8_lossy(&forced.stdout).contains("root:"), "{forced:?}");

        let stranger_folder = rack.run().file(format!("stranger-{address}"));
        std::fs::create_dir(&stranger_folder).expect("a folder");
        let stranger = Admin::create(&stranger_folder).expect("a key");
        stranger.fetch_host_key(&seed, address).expect("a host key");
        let refused = stranger.ssh(&seed, address, &[]).expect("ssh");
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    }
    assert!(rack.machines().iter().all(|machine| milestone(machine, "switch-root").expect("read").is_none()));
}
