//! Ten wrong passphrases: the pauses grow, then there is a long one on every way in, and the machine stays as it is. Slow, since
//! they are waited for (four minutes and fifteen): `make soak` runs it.

use std::process::Output;
use std::time::Duration;

use meadow_rack::{Firmware, Rack, RackConfig, wait};
use meadow_tests_vm::{Admin, BOOT, address, node_disk, serial_text, wait_all, wait_serial};

const PASSPHRASE: &str = "correct horse battery";
/// So many are answered; what comes then is not even tried.
const MANY: usize = 10;
/// The quarter of an hour that is named then, on a machine that is emulated.
const LONG_PAUSE: Duration = Duration::from_secs(25 * 60);

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[test]
fn after_many_wrong_passphrases_the_machine_says_when_to_come_again_and_opens_then() {
    let mut rack = Rack::build(&RackConfig::cycled(1, &[Firmware::BiosPxe])).expect("a rack");
    let admin = Admin::create(rack.run().path()).expect("a key");
    node_disk::of_machine(&rack, &rack.machines()[0], &admin, PASSPHRASE).expect("a disk");
    let person = rack.computer_at("person", 2).expect("a computer");
    rack.machine(1).expect("there").boot_from_disk();
    rack.power_on(1).expect("power");
    let address = address(&wait_all(&mut rack, "network ")[0]).expect("an address");
    wait_all(&mut rack, "unlock waiting");
    let key = wait::until("SSH", BOOT, || {
        rack.look_after()?;
        Ok(admin.fetch_host_key(&person, address).ok())
    });
    key.expect("a host key");

    let mut pauses = 0;
    for count in 1..=MANY {
        let wrong = admin.unlock(&person, address, &format!("guess {count}")).expect("ssh");
        let text = said(&wrong);
        assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
        let (counted, may_be_the_disk) = match count {
            MANY => ("that was wrong 10 times, so there is one attempt every 15 minutes from now on".to_owned(), false),
            few => (format!("({few} wrong so far)"), few >= 3),
        };
        assert!(text.contains(&counted), "{text}");
        assert_eq!(text.contains("restore-header"), may_be_the_disk, "{text}");
        pauses += usize::from(text.contains(&format!("after {} wrong ones: a pause of ", count - 1)));
        rack.look_after().expect("the machine runs");
    }
    assert!(pauses > 0, "whoever is kept waiting is told so");

    // The right one does not count now, wherever it comes from.
    let later = admin.unlock(&person, address, PASSPHRASE).expect("ssh");
    let text = said(&later);
    assert_eq!(later.status.code(), Some(3), "{later:?}");
    assert!(text.contains("too many wrong ones: the next attempt is possible in "), "{text}");
    assert!(text.contains("; this one was not tried"), "{text}");
    rack.machine(1).expect("there").type_text(&format!("{PASSPHRASE}\r")).expect("typed");
    wait_serial(&mut rack, 1, &["too many wrong ones: the next attempt is possible in "]);
    let status = said(&admin.ssh(&person, address, &["status"]).expect("ssh"));
    assert!(status.contains("unlocked: no") && status.contains("10 wrong so far, the next one in "), "{status}");

    let over = wait::until("the end of the pause", LONG_PAUSE, || {
        rack.look_after()?;
        let status = admin.ssh(&person, address, &["status"])?;
        anyhow::ensure!(status.status.success(), "it is not reachable: {status:?}");
        Ok(said(&status).contains("10 wrong so far, the next one now").then_some(()))
    });
    over.unwrap_or_else(|error| panic!("{error:#}: {}", serial_text(&rack, 1)));
    let opened = admin.unlock(&person, address, PASSPHRASE).expect("ssh");
    assert!(opened.status.success() && said(&opened).contains("is unlocked"), "{opened:?}");
    wait_serial(&mut rack, 1, &["state mounted", "root verified slot a", "switch-root"]);
    assert_eq!(serial_text(&rack, 1).matches("meadow: init ").count(), 1, "it restarted");
}
