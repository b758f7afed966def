//! Two computers with one MAC address or one UUID.

use meadow_state::MAX_HINTS;

use crate::support::*;

#[test]
fn two_with_one_mac_are_both_listed_and_both_say_so() {
    let mut cluster = Cluster::new();
    cluster.ok(see(7));
    let (first, _) = cluster.pending(&claim(7));
    let mut second = claim_with_key(8, 70);
    second.mac = Some(mac(7));
    second.hardware.nics = hardware(7).nics;
    let (second_name, _) = cluster.pending(&second);
    assert_ne!(first, second_name);
    let hint = |cluster: &Cluster, machine: &str| cluster.machine(machine).status.hints.clone();
    assert_eq!(hint(&cluster, first.as_str()), [format!("{second_name} has the same MAC address {}", mac(7))]);
    assert_eq!(hint(&cluster, second_name.as_str()), [format!("{first} has the same MAC address {}", mac(7))]);
    assert_eq!(cluster.warnings("duplicate-mac").len(), 2);
    cluster.pending(&second);
    cluster.pending(&claim(7));
    assert_eq!(cluster.warnings("duplicate-mac").len(), 2, "once is enough");
}

#[test]
fn a_uuid_counts_unless_it_is_one_that_makers_leave_in() {
    let table = [
        ("03000200-0400-0500-0006-000700080009", 2),
        ("00000000-0000-0000-0000-000000000000", 0),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", 0),
        ("", 0),
        ("Not Settable", 0),
    ];
    for (uuid, warnings) in table {
        let mut cluster = Cluster::new();
        for (number, text) in [(7, uuid.to_owned()), (8, uuid.to_ascii_lowercase())] {
            let mut twin = claim(number);
            twin.hardware.uuid = Some(text);
            cluster.pending(&twin);
        }
        assert_eq!(cluster.warnings("duplicate-uuid").len(), warnings, "{uuid}");
        assert_eq!(cluster.state.machines().len(), 2);
    }
}

#[test]
fn who_was_turned_away_or_is_lost_is_no_duplicate() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(reject(&machine));
    cluster.pending(&claim_with_key(7, 70));
    assert!(cluster.warnings("duplicate-mac").is_empty());
}

#[test]
fn hints_are_bounded() {
    let mut cluster = Cluster::new();
    let (first, _) = cluster.pending(&claim(7));
    for number in 70..70 + u8::try_from(MAX_HINTS).expect("small") + 5 {
        cluster.pending(&claim_with_key(7, number));
    }
    assert_eq!(cluster.machine(first.as_str()).status.hints.len(), MAX_HINTS);
}
