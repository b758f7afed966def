//! Power cuts of installations on machines with UEFI: without Secure Boot, whose firmware starts whatever bytes there are, and with
//! Secure Boot and a TPM. The same on a BIOS is in `make test`, in approve.rs; this one is slow: `make soak` runs it.

use std::fs;

use meadow_rack::card::Card;
use meadow_rack::seed::SeedConfig;
use meadow_rack::tpm::Tpm;
use meadow_rack::{Firmware, RackConfig, paths};
use meadow_tests_vm::installation::Installation;
use meadow_tests_vm::power_cuts;
use meadow_tests_vm::story::Story;

/// Has Secure Boot and a TPM. Nothing of ours boots it over the network, so a stick stays in it, behind its disk.
const SECURED: usize = 2;

#[test]
fn no_power_cut_of_an_installation_loses_a_machine_with_uefi() {
    let folder = tempfile::tempdir().expect("a folder");
    let machines = RackConfig::cycled(2, &[Firmware::UefiPxe]);
    let mut story = Story::begin_with(&machines, SeedConfig::default(), folder.path());
    secure(&mut story);
    let mac = story.site.rack().machines()[0].hardware().mac.clone();
    story.site.cluster().arm(&mac, "node-1").expect("armed");
    let installations = [1, 2].map(|number| Installation::record(&mut story, number));

    story.progress.line("one boots over the network, one from a stick under Secure Boot; both are installed");
    story.site.rack_mut().power_on_all().expect("power");
    story.wait_ready();
    ["node-1", "node-2"].into_iter().for_each(|node| drop(story.install(node)));
    installations.iter().for_each(|installation| installation.end(&mut story));
    let stick = story.stick(SECURED);
    story.site.rack_mut().machine(SECURED).expect("there").plug_in_behind(stick);

    // The odd seeds are those of the first machine.
    for (installation, seed) in installations.iter().cycle().zip(1..=power_cuts()) {
        installation.no_power_cut_loses_the_machine(&mut story, seed);
    }
}

fn secure(story: &mut Story) {
    let certificate = fs::read(paths::image().join("secureboot.cer")).expect("a certificate; `make image` makes it");
    let chip = Tpm::in_folder(&story.site.rack().run().file("node-2.tpm")).expect("a TPM");
    let machine = story.site.rack_mut().machine(SECURED).expect("there");
    machine.enrol(&certificate).expect("enrolled");
    machine.plug_in_tpm(chip);
    // OVMF has no driver for it, and does not wait for network boots that nobody answers.
    machine.fit_card(Card::E1000, false);
    story.plug_in_stick(SECURED, &["--token", "new", "--name", "node-2"]);
}
