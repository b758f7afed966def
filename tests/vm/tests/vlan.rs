//! A VLAN between two guests, since the kernels of build machines know none: one serves it with full DHCP and boot files, the
//! other one's firmware boots in it. Slow: `make soak` runs it.

use std::fs;

use anyhow::{Context, Result};
use meadow_rack::boot_server::BootServer;
use meadow_rack::{Firmware, Rack, RackConfig, paths, wait};
use meadow_tests_vm::{BOOT, playing_guest};

/// In VLAN 7 of the one cable that it has.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
for module in failover net_failover virtio_net llc stp mrp garp 8021q; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox ip link set lo up
/bin/busybox ip link set eth0 up
/bin/busybox vconfig add eth0 7
/bin/busybox ip addr add 192.0.2.1/24 dev eth0.7
/bin/busybox ip link set eth0.7 up
exec /bin/meadow-pxe --config /settings.toml > /dev/ttyS0 2>&1
";
const MODULES: [&str; 8] = [
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "net/llc/llc",
    "net/802/stp",
    "net/802/mrp",
    "net/802/garp",
    "net/8021q/8021q",
];
const SERVER: &str = "#!ipxe\nkernel ${files}/vmlinuz console=ttyS0 panic=10\ninitrd ${files}/server.cpio\nboot\n";
/// iPXE's own commands for a VLAN.
const CLIENT: &str = "#!ipxe\nvcreate --tag 7 net0\nautoboot net0-7\necho nothing boots in the VLAN\nsleep 3600\n";
/// Is not there in one piece.
const SAYS: &str = "#!ipxe\necho the VLAN's ${undefined}script runs\nsleep 3600\n";
const SAID: &str = "the VLAN's script runs";

/// A boot server outside of the VLAN, which gets both guests so far.
fn settings(rack: &Rack) -> Result<String> {
    let run = rack.run();
    let inside = format!(
        "interface = \"eth0.7\"\nartifacts = \"/image\"\nlease_file = \"/leases\"\n\
         [[dhcp]]\nsubnet = \"192.0.2.0/24\"\npool = \"192.0.2.100-192.0.2.109\"\n\
         [[machine]]\nmac = \"{}\"\npolicy = \"script\"\nscript_file = \"/says.ipxe\"\n",
        rack.machines().get(1).context("no second machine")?.hardware().mac
    );
    let inside = [("settings.toml", inside.as_str()), ("says.ipxe", SAYS)];
    let program = paths::programs().join("meadow-pxe");
    let files = run.file("files");
    fs::create_dir(&files)?;
    fs::write(files.join("server.cpio"), playing_guest::initrd(INIT, &program, &MODULES, &inside)?)?;
    fs::copy(paths::image().join("vmlinuz"), files.join("vmlinuz")).context("no image; `make image` builds it")?;
    let image = paths::image().canonicalize()?;
    let mut text =
        format!("interface = \"eth0\"\nartifacts = \"{}\"\nfiles = \"{}\"\n", image.display(), files.display());
    for (machine, script) in rack.machines().iter().zip([SERVER, CLIENT]) {
        let file = run.file(format!("{}.ipxe", machine.name()));
        fs::write(&file, script)?;
        let mac = &machine.hardware().mac;
        text += &format!("[[machine]]\nmac = \"{mac}\"\npolicy = \"script\"\nscript_file = \"{}\"\n", file.display());
    }
    Ok(text)
}

#[test]
fn a_guest_boots_in_a_vlan_that_another_guest_serves() {
    let mut rack = Rack::build(&RackConfig::cycled(2, &[Firmware::BiosPxe, Firmware::UefiPxe])).expect("a rack");
    let seed = rack.computer_at("seed", 2).expect("a seed");
    let settings = settings(&rack).expect("settings");
    let _server = BootServer::start(rack.parts().0, &seed, &settings).expect("a boot server");
    for (number, said) in [(1, "full DHCP begins"), (2, SAID)] {
        rack.power_on(number).expect("power");
        let text = wait::until(said, BOOT, || {
            rack.look_after()?;
            let text = rack.machines()[number - 1].serial().text_from(0)?;
            Ok(text.contains(said).then_some(text))
        });
        text.unwrap_or_else(|error| panic!("{error:#}: {:?}", rack.machines()[number - 1].serial().text_from(0)));
    }
    let server = rack.machines()[0].serial().text_from(0).expect("read");
    assert!(server.contains("192.0.2.100"), "it has an address of the VLAN: {server}");
}
