//! Machines that a test plays: tickets that are asked for twice, keys that do not belong together, twins.

use meadow_model::ProblemCode;
use meadow_model::boot::BootConfig;
use meadow_model::enrolment::ClaimReply;
use meadow_tests_netns::{Computer, Hardware, PlayedMachine, Site};
use serde_json::Value;

use crate::support::{event_codes, node_names, text};

const UUID: &str = "03000200-0400-0500-0006-000700080009";
const TICKETED: Hardware = Hardware { mac: "52:54:00:00:00:01", uuid: "11111111-2222-3333-4444-555555555501" };
const OWNER: Hardware = Hardware { mac: "52:54:00:00:00:02", uuid: "11111111-2222-3333-4444-555555555502" };
const TWIN: Hardware = Hardware { mac: "52:54:00:00:00:03", uuid: UUID };
const SAME_UUID: Hardware = Hardware { mac: "52:54:00:00:00:04", uuid: UUID };

#[test]
fn keys_and_hardware_that_do_not_belong_together_wait_for_a_person() {
    let mut site = Site::build().expect("namespaces");
    let seed = site.seed().expect("a seed");
    let lan = site.computer("phone", 9).expect("a computer");
    a_ticket_lets_one_key_in_and_a_second_one_revokes_it(&seed, &lan);
    a_known_identity_with_another_mesh_key_is_refused(&seed, &lan);
    twins_are_two_machines_and_both_are_marked(&seed, &lan);
}

fn a_ticket_lets_one_key_in_and_a_second_one_revokes_it(seed: &Computer, lan: &Computer) {
    arm(seed, TICKETED.mac, "ticketed");
    let owner = machine(&TICKETED);
    let config = owner.boot_config(lan, seed).expect("told");
    let ticket = config.ticket.clone().expect("a ticket");
    for _ in 0..2 {
        // The answer may be lost: whoever asks again with the same key is answered the same.
        let reply = owner.enrol(lan, &config, Some(ticket.clone())).expect("network").expect("answered");
        assert!(matches!(&reply, ClaimReply::Approved(node) if node.mesh.name.as_str() == "ticketed"), "{reply:?}");
    }
    assert_eq!(owner.boot_config(lan, seed).expect("told").ticket, None, "a used ticket is handed out again");

    let thief = machine(&TICKETED);
    let reason = pending(thief.enrol(lan, &config, Some(ticket.clone())).expect("network").expect("answered"));
    assert!(reason.contains("revoked") && reason.contains("meadow machine approve"), "{reason}");
    let listed = listed(seed, &thief);
    assert_eq!(text(&listed, "/status/phase"), "Pending");
    assert!(hints(&listed).iter().any(|hint| hint.contains("used by another key")), "{listed}");
    let holder = seed.json(&["machine", "show", "m-525400000001"]).expect("a machine");
    assert_eq!(holder["spec"]["armed"], Value::Null, "the ticket is still good: {holder}");
    assert!(event_codes(seed, "m-525400000001").contains(&"ticket-reused".to_owned()));
    // The owner stays what it was let in as.
    assert!(node_names(seed).contains(&"ticketed".to_owned()));
    let again = pending(machine(&TICKETED).enrol(lan, &config, Some(ticket)).expect("network").expect("answered"));
    assert!(again.contains("unknown or was revoked"), "{again}");
}

fn a_known_identity_with_another_mesh_key_is_refused(seed: &Computer, lan: &Computer) {
    arm(seed, OWNER.mac, "owner");
    let owner = machine(&OWNER);
    let config = owner.boot_config(lan, seed).expect("told");
    let reply = owner.enrol(lan, &config, config.ticket.clone()).expect("network").expect("answered");
    assert!(matches!(reply, ClaimReply::Approved(_)), "{reply:?}");
    let before = seed.json(&["node", "show", "owner"]).expect("a node");
    for impostor in [owner.with_other_mesh_key(), owner.with_other_identity()] {
        let impostor = impostor.expect("keys");
        let problem = impostor.enrol(lan, &config, None).expect("network").expect_err("refused");
        assert_eq!(problem.code, ProblemCode::IdentityMismatch);
        assert!(problem.detail.contains("owner") && problem.hint.contains("meadow node remove"), "{problem:?}");
    }
    let after = seed.json(&["node", "show", "owner"]).expect("a node");
    assert_eq!(before["spec"], after["spec"]);
    assert!(event_codes(seed, "owner").contains(&"identity-mismatch".to_owned()), "{:?}", event_codes(seed, "owner"));
}

fn twins_are_two_machines_and_both_are_marked(seed: &Computer, lan: &Computer) {
    let config = config_of(lan, seed, &TWIN);
    let machines = [machine(&TWIN), machine(&TWIN), machine(&SAME_UUID)];
    for machine in &machines {
        pending(machine.enrol(lan, &config, None).expect("network").expect("answered"));
    }
    let [first, second, third] = machines.map(|machine| listed(seed, &machine));
    let names = [&first, &second, &third].map(|machine| text(machine, "/metadata/name"));
    assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{names:?}");
    for (machine, other, what) in [
        (&first, names[1], "same MAC address"),
        (&second, names[0], "same MAC address"),
        (&third, names[0], "same SMBIOS UUID"),
        (&first, names[2], "same SMBIOS UUID"),
    ] {
        let hints = hints(machine);
        assert!(hints.iter().any(|hint| hint.contains(other) && hint.contains(what)), "{other} {what}: {hints:?}");
    }
    assert!(event_codes(seed, names[1]).contains(&"duplicate-mac".to_owned()));
    assert!(event_codes(seed, names[2]).contains(&"duplicate-uuid".to_owned()));
    // Which of the two is approved is decided by the code on its console, not by the address.
    let code = text(&second, "/status/code");
    assert_ne!(code, text(&first, "/status/code"));
    let approve =
        |code: &str| seed.meadow(&["machine", "approve", names[1], "--code", code, "--no-wait"]).expect("run");
    approve(text(&first, "/status/code")).assert_refused(4, &["somebody may sit between"]);
    approve(code).success().expect("approved");
    let phase = |name| text(&seed.json(&["machine", "show", name]).expect("a machine"), "/status/phase").to_owned();
    assert_eq!((phase(names[0]).as_str(), phase(names[1]).as_str()), ("Pending", "Approved"));
    let fingerprints: Vec<Value> =
        seed.items(&["node", "ls"]).expect("nodes").iter().map(|node| node["spec"]["fingerprint"].clone()).collect();
    assert!(fingerprints.contains(&second["status"]["fingerprint"]), "another machine was approved");
}

fn machine(hardware: &Hardware) -> PlayedMachine {
    PlayedMachine::new(hardware).expect("keys")
}

fn arm(seed: &Computer, mac: &str, node: &str) {
    seed.meadow(&["machine", "arm", mac, "--node", node]).expect("run").success().expect("armed");
}

fn config_of(lan: &Computer, seed: &Computer, hardware: &Hardware) -> BootConfig {
    machine(hardware).boot_config(lan, seed).expect("the window is open")
}

#[track_caller]
fn pending(reply: ClaimReply) -> String {
    match reply {
        ClaimReply::Pending { reason, .. } => reason,
        other => panic!("let in or turned away: {other:?}"),
    }
}

/// The machine with this identity as the cluster lists it.
fn listed(seed: &Computer, machine: &PlayedMachine) -> Value {
    let machines = seed.items(&["machine", "ls"]).expect("machines");
    let fingerprint = machine.fingerprint();
    let mut same = machines.iter().filter(|m| m["status"]["fingerprint"] == fingerprint.as_str());
    let found = same.next().unwrap_or_else(|| panic!("{fingerprint} is not listed: {machines:?}")).clone();
    assert!(same.next().is_none(), "{fingerprint} is listed twice");
    found
}

fn hints(machine: &Value) -> Vec<String> {
    let hints = machine["status"]["hints"].as_array().expect("hints");
    hints.iter().filter_map(|hint| hint.as_str().map(str::to_owned)).collect()
}
