//! The state as bytes.

use meadow_model::hardware::{Measure, Measures};
use meadow_state::{SCHEMA, SnapshotError, State};

use crate::support::*;

fn full() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.ok(create_token("abc", 2));
    cluster.admitted(&with_token(claim(7), "abc"));
    cluster.ok(arm(by_mac(8), 9));
    let mut measured = claim(9);
    let measure = Measure { value: Some(0.1 + 0.2), spread: Some(1.0 / 3.0), reason: None };
    measured.measures = Some(Measures { memory_mb_s: measure, ..Measures::default() });
    cluster.pending(&measured);
    cluster
}

#[test]
fn there_and_back_is_the_same_to_the_last_bit() {
    let mut cluster = full();
    let bytes = cluster.state.to_snapshot().expect("written");
    let mut copy = State::from_snapshot(&bytes).expect("read");
    assert_eq!(copy, cluster.state);
    assert_eq!(copy.to_snapshot().expect("written"), bytes);
    // And both go on in the same way.
    let proposal = meadow_state::command::Proposal {
        at: cluster.now,
        actor: "pxe".to_owned(),
        idempotency_key: None,
        command: see(10),
    };
    assert_eq!(copy.apply(99, &proposal), cluster.state.apply(99, &proposal));
    assert_eq!(copy, cluster.state);
}

#[test]
fn other_schemas_and_damage_are_refused_in_words() {
    let bytes = full().state.to_snapshot().expect("written");
    let text = String::from_utf8(bytes).expect("JSON");
    let with = |schema: u32| text.replacen(&format!("\"schema\":{SCHEMA}"), &format!("\"schema\":{schema}"), 1);
    let newer = State::from_snapshot(with(SCHEMA + 1).as_bytes()).expect_err("newer");
    assert!(matches!(newer, SnapshotError::Newer { found } if found == SCHEMA + 1));
    assert!(newer.to_string().contains("install the newer Meadow"), "{newer}");
    assert!(matches!(State::from_snapshot(with(0).as_bytes()), Err(SnapshotError::Unknown { found: 0 })));
    for bad in ["", "{}", "{\"schema\":1}", text.get(..text.len() / 2).unwrap_or_default()] {
        assert!(matches!(State::from_snapshot(bad.as_bytes()), Err(SnapshotError::Malformed(_))), "{bad:.40}");
    }
}
