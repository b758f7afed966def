//! The root file system's way into a machine's memory: what is damaged, breaks off or is missing is said and tried again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use meadow_rack::boot_server::BootServer;
use meadow_rack::namespace::Namespace;
use meadow_rack::{Firmware, Rack, RackConfig, paths};
use meadow_tests_vm::{BOOT, milestone};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An image like the real one, with one bit of the root turned; its manifest calls that right, so that the server
/// offers it, and only what the machine asks for can tell.
fn forge_image(folder: &Path) -> Result<()> {
    let real = paths::image().canonicalize().context("there is no image; `make image` builds it")?;
    fs::create_dir_all(folder.join("ipxe"))?;
    for name in
        ["vmlinuz", "initrd", "root.img", "manifest.json", "ipxe/undionly.kpxe", "ipxe/snponly.efi", "ipxe/ipxe.efi"]
    {
        fs::copy(real.join(name), folder.join(name)).with_context(|| format!("no {name} in the image"))?;
    }
    let mut root = fs::read(folder.join("root.img"))?;
    let middle = root.len() / 2;
    root[middle] ^= 1;
    let mut manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json"))?)?;
    let digest = manifest.pointer_mut("/artifacts/root.img/sha256").context("no digest of the root")?;
    *digest = Value::String(HEXLOWER.encode(&Sha256::digest(&root)));
    fs::write(folder.join("root.img"), root)?;
    Ok(fs::write(folder.join("manifest.json"), manifest.to_string())?)
}

fn serve(rack: &mut Rack, seed: &Namespace, image: &Path) -> BootServer {
    let mac = rack.machines()[0].hardware().mac.clone();
    let settings = format!(
        "interface = \"eth0\"\nartifacts = \"{}\"\n[[machine]]\nmac = \"{mac}\"\npolicy = \"image\"\n",
        image.display()
    );
    BootServer::start(rack.parts().0, seed, &settings).expect("a boot server")
}

/// Waits until the boot log of the machine has a line with `text`.
fn wait_console(rack: &mut Rack, text: &str) {
    let found = meadow_rack::wait::until(text, BOOT, || {
        rack.look_after()?;
        Ok(rack.machines()[0].serial().text_from(0)?.contains(text).then_some(()))
    });
    found.unwrap_or_else(|error| panic!("{error:#}; stages: {:?}", rack.machines()[0].milestones()));
}

/// Waits until the boot loader has the initrd. Where that takes long it counts up to 100 % before its "ok", of which the last
/// letter does not come out before the kernel's first.
fn wait_initrd_loaded(rack: &mut Rack) {
    let found = meadow_rack::wait::until("the initrd to be loaded", BOOT, || {
        rack.look_after()?;
        let text = rack.machines()[0].serial().text_from(0)?;
        Ok(text.split_once("/artifacts/initrd...").is_some_and(|(_, after)| after.contains('o')).then_some(()))
    });
    found.unwrap_or_else(|error| panic!("{error:#}; stages: {:?}", rack.machines()[0].milestones()));
}

/// The cable is pulled and the router switched off as soon as the firmware has all that it loads.
fn the_network_comes_late(rack: &mut Rack) {
    wait_initrd_loaded(rack);
    rack.machine(1).expect("there").set_cable(false).expect("pulled");
    rack.switch_router_off().expect("off");
    wait_console(rack, "no carrier; plug in a network cable");
    rack.machine(1).expect("there").set_cable(true).expect("plugged in");
    wait_console(rack, "no DHCP lease yet; no DHCP server answers: is the router on?");
    assert_eq!(milestone(&rack.machines()[0], "network ").expect("read"), None);
    rack.switch_router_on().expect("on");
}

#[test]
fn a_wrong_root_is_never_booted_and_a_broken_download_or_a_late_network_goes_on() {
    let mut rack = Rack::build(&RackConfig::cycled(1, &[Firmware::BiosPxe])).expect("a rack");
    let seed = rack.computer_at("seed", 2).expect("a seed");
    let forged = rack.run().file("forged");
    forge_image(&forged).expect("a forged image");

    let server = serve(&mut rack, &seed, &forged);
    rack.power_on_all().expect("power");
    the_network_comes_late(&mut rack);
    wait_console(&mut rack, "another root.img now");
    assert_eq!(milestone(&rack.machines()[0], "root verified").expect("read"), None);
    drop(server);

    // The right root, from a server that is killed in the middle of it.
    let mut server = serve(&mut rack, &seed, &paths::image().canonicalize().expect("an image"));
    server.wait_for("root-download", BOOT).expect("the download goes on");
    server.kill().expect("killed");
    let _server = serve(&mut rack, &seed, &paths::image().canonicalize().expect("an image"));
    wait_console(&mut rack, "meadow: root verified");
    wait_console(&mut rack, "meadow: switch-root");
    let text = rack.machines()[0].serial().text_from(0).expect("a log");
    assert_eq!(text.matches("meadow: init ").count(), 1, "it restarted");
}
