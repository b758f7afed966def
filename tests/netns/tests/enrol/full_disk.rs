//! A seed whose disk is full: it refuses to change anything, says why, loses nothing, and PXE goes on.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use meadow_model::ProblemCode;
use meadow_model::boot::BootConfig;
use meadow_tests_netns::{Computer, Hardware, PATIENCE, PlayedMachine, Site};

use crate::support::{text, token};

const ARMED: Hardware = Hardware { mac: "52:54:00:00:00:01", uuid: "11111111-2222-3333-4444-555555555501" };
/// Large changes that may still fit into the state's file when the disk is full.
const MOST: u16 = 2000;

#[test]
fn a_full_disk_stops_changes_and_nothing_else() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.seed_with_small_disk("24m").expect("a seed");
    let lan = site.computer("phone", 9).expect("a computer");
    let (kept, _) = token(&seed, "kept", &[]);
    seed.meadow(&["machine", "arm", ARMED.mac, "--node", "armed"]).expect("run").success().expect("armed");
    let filler = seed.state_file("filler");
    fill(&filler);
    let config = PlayedMachine::bulky(0).expect("keys").boot_config(&lan, &seed).expect("told");
    let mut crowd = Crowd { lan: &lan, config, accepted: Vec::new(), last: 0 };

    crowd.until_refused();
    refuses_changes(&seed, &mut crowd);
    reads_go_on(&seed, &kept, &crowd);
    pxe_goes_on(&site, &seed, &lan);
    // A restart on the full disk loses nothing either.
    seed.kill_agent().expect("killed");
    seed.start_agent(&mut site).expect("started");
    seed.wait_for_node("seed").expect("ready");
    reads_go_on(&seed, &kept, &crowd);
    refuses_changes(&seed, &mut crowd);
    pxe_goes_on(&site, &seed, &lan);
    let refused = crowd.until_refused();

    fs::remove_file(&filler).expect("freed");
    meadow_rack::wait::until("changes to work again", PATIENCE, || {
        let made = seed.meadow(&["token", "create", "--out", &seed.file("new").to_string_lossy()])?;
        Ok((made.code == Some(0)).then_some(()))
    })
    .expect("changed");
    reads_go_on(&seed, &kept, &crowd);
    // The machine that was refused asks again, as all do.
    refused.enrol(&lan, &crowd.config, None).expect("network").expect("answered");
    crowd.accepted.push(refused.fingerprint());
    reads_go_on(&seed, &kept, &crowd);
    let armed = PlayedMachine::new(&ARMED).expect("keys");
    let config = armed.boot_config(&lan, &seed).expect("told");
    armed.enrol(&lan, &config, config.ticket.clone()).expect("network").expect("let in");
    assert_eq!(text(&seed.json(&["node", "show", "armed"]).expect("a node"), "/metadata/name"), "armed");
}

/// Strangers with large inventories who ask to enrol.
struct Crowd<'a> {
    lan: &'a Computer,
    config: BootConfig,
    accepted: Vec<String>,
    last: u16,
}

impl Crowd<'_> {
    /// Sends one after the other until one is refused, for the right reason: that one.
    fn until_refused(&mut self) -> PlayedMachine {
        while self.last < MOST {
            self.last += 1;
            let machine = PlayedMachine::bulky(self.last).expect("keys");
            match machine.enrol(self.lan, &self.config, None).expect("network") {
                Ok(_) => self.accepted.push(machine.fingerprint()),
                Err(problem) => {
                    assert_eq!(problem.code, ProblemCode::StorageFull, "{problem}");
                    return machine;
                }
            }
        }
        panic!("{MOST} large changes fit on a full disk");
    }
}

/// What is small may still fit into the state's file, and is kept then. So each command is tried until it is refused,
/// with more strangers before each time.
fn refuses_changes(seed: &Computer, crowd: &mut Crowd<'_>) {
    let out = seed.file("refused").to_string_lossy().into_owned();
    for command in [
        &["token", "create", "--out", &out][..],
        &["pxe", "open", "--for", "2h"],
        &["machine", "arm", "52:54:00:00:00:07"],
        &["machine", "boot", "52:54:00:00:00:08", "hold"],
    ] {
        let refused = meadow_rack::wait::until("a refusal", PATIENCE, || {
            crowd.until_refused();
            if Path::new(&out).exists() {
                fs::remove_file(&out)?;
            }
            let ran = seed.meadow(command)?;
            Ok((ran.code != Some(0)).then_some(ran))
        });
        let refused = refused.expect("refused at last");
        refused.assert_refused(1, &["[storage-full", "Free space below /var/lib/meadow"]);
        assert!(!Path::new(&out).exists(), "a token that nobody kept was given out");
    }
}

fn reads_go_on(seed: &Computer, kept: &str, crowd: &Crowd<'_>) {
    assert_eq!(text(&seed.json(&["token", "show", kept]).expect("a token"), "/metadata/name"), kept);
    assert_eq!(text(&seed.json(&["machine", "show", ARMED.mac]).expect("a machine"), "/spec/armed/node"), "armed");
    let machines = seed.items(&["machine", "ls", "--filter", "phase=Pending"]).expect("machines");
    let listed: BTreeSet<&str> = machines.iter().map(|machine| text(machine, "/status/fingerprint")).collect();
    let accepted: BTreeSet<&str> = crowd.accepted.iter().map(String::as_str).collect();
    assert_eq!(listed, accepted, "not the machines that were accepted, all and no others");
    seed.meadow(&["status"]).expect("run").success().expect("healthy");
}

fn pxe_goes_on(site: &Site, seed: &Computer, lan: &Computer) {
    let armed = PlayedMachine::new(&ARMED).expect("keys");
    let config = armed.boot_config(lan, seed).expect("told");
    assert!(config.ticket.is_some(), "the ticket is lost");
    for name in ["vmlinuz", "root.img"] {
        let url = format!("http://{}:7480/artifacts/{name}", seed.address());
        let copy = lan.file(name);
        lan.run("curl", &["-sSf", "-o", &copy.to_string_lossy(), &url]).expect("run").success().expect("sent");
        assert_eq!(fs::read(copy).expect("read"), site.artifacts().read(name).expect("an artifact"), "{name}");
    }
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("created");
    for size in [1 << 20, 4096, 1] {
        let block = vec![0x5a; size];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => panic!("cannot fill the disk: {error}"),
            }
        }
    }
}
