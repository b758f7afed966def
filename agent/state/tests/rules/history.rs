//! The history keeps what people have to know, whatever strangers and clocks do.

use meadow_model::MacAddress;
use meadow_model::mesh::WireGuardKey;
use meadow_state::command::{Command, Proposal};
use meadow_state::{MAX_EVENTS, MAX_STRANGERS_EVENTS};

use crate::support::*;

#[test]
fn a_clock_that_is_set_back_silences_no_warning() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve(&machine));
    let mut impostor = claim(7);
    impostor.wireguard = WireGuardKey([99; 32]);
    let warnings = |cluster: &mut Cluster| {
        cluster.claim(&impostor).expect_err("refused");
        cluster.warnings("identity-mismatch").len()
    };
    cluster.pass(10 * 365 * 86_400);
    assert_eq!(warnings(&mut cluster), 1);
    cluster.pass(-10 * 365 * 86_400);
    assert_eq!(warnings(&mut cluster), 2, "the warning waits for ten years");
    assert_eq!(warnings(&mut cluster), 2, "once a minute is enough");
}

#[test]
fn ever_new_machines_do_not_push_out_what_people_did() {
    let mut cluster = Cluster::new();
    cluster.ok(create_token("t-1", 1));
    let count = u16::try_from(2 * MAX_EVENTS).expect("fits");
    for number in 0..count {
        let [high, low] = number.to_be_bytes();
        let command = Command::SeeMachine {
            mac: MacAddress([2, 0, 0, 0, high, low]),
            arch: "x64 UEFI".to_owned(),
            architecture: None,
        };
        let proposal = Proposal { at: cluster.now, actor: "pxe".to_owned(), idempotency_key: None, command };
        cluster.propose(&proposal).expect("listed");
    }
    assert_eq!((cluster.events("cluster-created"), cluster.events("token-created")), (1, 1));
    assert_eq!(cluster.events("machine-seen"), MAX_STRANGERS_EVENTS);
    let newest = cluster.state.events().values().next_back().expect("events");
    assert_eq!(newest.subject, format!("m-02000000{:04x}", count - 1), "the newest ones stay");
}

#[test]
fn a_report_is_news_while_something_waits_for_it() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "node-7"));
    let joined = |version: &str| Command::NodeJoined { node: name("node-7"), version: version.to_owned() };
    let is_news = |cluster: &Cluster, version: &str| cluster.state.is_news_of(cluster.node("node-7"), version);
    assert!(is_news(&cluster, "1"), "its enrolment waits");
    cluster.ok(joined("1"));
    assert!(!is_news(&cluster, "1") && is_news(&cluster, "2"));
    let long = "x".repeat(5000);
    cluster.ok(joined(&long));
    assert!(!is_news(&cluster, &long), "what is cut off is no news");
    // The same computer with another key: the node is lost until it reports.
    cluster.pending(&claim_with_key(7, 70));
    assert!(is_news(&cluster, &long));
    cluster.ok(joined(&long));
    assert!(!is_news(&cluster, &long));
}
