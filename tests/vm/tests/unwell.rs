//! An installed node whose new image boots, and is not well: here it finds no cluster. Its timer gives the image up. Slow, since
//! that timer waits ten minutes: `make soak` runs it.

use std::time::Duration;

use meadow_rack::{Firmware, Rack, RackConfig, paths, wait};
use meadow_tests_vm::{Admin, node_disk, serial_text, wait_serial};

const PASSPHRASE: &str = "correct horse battery";
/// The ten minutes of meadow-trial.timer on a machine that is emulated.
const TRIAL: Duration = Duration::from_secs(25 * 60);

#[test]
fn an_image_that_is_not_well_in_time_is_given_up_by_the_node_itself() {
    let mut rack = Rack::build(&RackConfig::cycled(1, &[Firmware::BiosPxe])).expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    node_disk::of_machine(&rack, &rack.machines()[0], &admin, PASSPHRASE).expect("a disk");
    let disk = rack.machines()[0].hardware().disk.clone();
    let next = paths::image_variant("image-next").canonicalize().expect("tests/make/image-variants makes it");
    node_disk::fill_slot_b(&disk, &next, "blessed=a\ntry=b\nattempted=b\n").expect("a second slot");
    let machine = rack.machine(1).expect("there");
    machine.boot_from_disk();
    machine.expect_restart();
    rack.power_on(1).expect("power");

    let person = rack.computer_at("person", 2).expect("a computer");
    admin.open_at_newest_prompt(&mut rack, &person, 1, PASSPHRASE);
    wait_serial(&mut rack, 1, &["root verified slot b", "NO CLUSTER"]);
    let restarts = wait::until("the restart", TRIAL, || {
        rack.look_after()?;
        Ok((serial_text(&rack, 1).matches("unlock over the network: ").count() == 2).then_some(()))
    });
    restarts.unwrap_or_else(|error| panic!("{error:#}: {}", serial_text(&rack, 1)));
    admin.open_at_newest_prompt(&mut rack, &person, 1, PASSPHRASE);
    wait_serial(&mut rack, 1, &["root verified slot a"]);
}
