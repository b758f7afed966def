//! Other systems: a stock Debian installer boots by the script of the guide. Slow, and it downloads: `make soak` runs it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use meadow_rack::boot_server::BootServer;
use meadow_rack::{Firmware, Rack, RackConfig, paths, wait};
use meadow_tests_vm::BOOT;

/// As in `docs/guide.md`, to the serial line.
const SCRIPT: &str = "#!ipxe\n\
    kernel ${files}/debian-installer/amd64/linux initrd=initrd.gz console=ttyS0 priority=critical\n\
    initrd --name initrd.gz ${files}/debian-installer/amd64/initrd.gz\n\
    boot\n";
/// Its first question.
const FIRST_QUESTION: &str = "Select a language";

/// Where the installer's files are; fetches them.
fn installer() -> Result<String> {
    let script = paths::checkout().join("tests/vm/fetch-installer");
    let output = Command::new(&script).output().with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn settings(rack: &Rack, files: &str) -> Result<String> {
    let image = paths::image().canonicalize().context("there is no image; `make image` builds it")?;
    let script = rack.run().file("debian.ipxe");
    std::fs::write(&script, SCRIPT)?;
    let mut text = format!("interface = \"eth0\"\nartifacts = \"{}\"\nfiles = \"{files}\"\n", image.display());
    for machine in rack.machines() {
        let mac = &machine.hardware().mac;
        text += &format!("[[machine]]\nmac = \"{mac}\"\npolicy = \"script\"\nscript_file = \"{}\"\n", script.display());
    }
    Ok(text)
}

#[test]
fn a_stock_debian_installer_asks_its_first_question() {
    let files = installer().expect("the installer");
    let mut rack = Rack::build(&RackConfig::cycled(2, &[Firmware::BiosPxe, Firmware::UefiPxe])).expect("a rack");
    let seed = rack.computer_at("seed", 2).expect("a seed");
    let settings = settings(&rack, &files).expect("settings");
    let _server = BootServer::start(rack.parts().0, &seed, &settings).expect("a boot server");
    rack.power_on_all().expect("power");
    let asked = wait::until(FIRST_QUESTION, BOOT, || {
        rack.look_after()?;
        let asks = |machine: &meadow_rack::Machine| {
            machine.serial().text_from(0).is_ok_and(|text| text.contains(FIRST_QUESTION))
        };
        Ok(rack.machines().iter().all(asks).then_some(()))
    });
    asked.expect("the installer runs on both");
}
