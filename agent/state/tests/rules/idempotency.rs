//! Idempotency keys, and what a refusal leaves behind.

use meadow_model::ProblemCode;
use meadow_state::command::{Command, Proposal};
use meadow_state::{MAX_ANSWERS, MAX_EVENTS, Outcome};

use crate::support::*;

fn keyed(cluster: &Cluster, actor: &str, key: &str, command: Command) -> Proposal {
    Proposal { at: cluster.now, actor: actor.to_owned(), idempotency_key: Some(key.to_owned()), command }
}

#[test]
fn the_same_key_gives_the_first_answer_again() {
    let mut cluster = Cluster::new();
    let first = keyed(&cluster, "user ann", "k1", create_token("abc", 1));
    cluster.propose(&first).expect("accepted");
    let second = keyed(&cluster, "user ann", "k1", create_token("xyz", 1));
    let again = cluster.propose(&second).expect("the first answer");
    assert_eq!(again.outcome, Outcome::Token { name: name("abc") });
    assert!(again.changed.is_empty());
    assert_eq!(cluster.state.tokens().len(), 1);
    let something_else = keyed(&cluster, "user ann", "k1", see(7));
    assert_eq!(cluster.propose(&something_else).map_err(|p| p.code), Err(ProblemCode::Conflict));
    let somebody_else = keyed(&cluster, "user bob", "k1", create_token("xyz", 1));
    cluster.propose(&somebody_else).expect("keys are each actor's own");
    assert_eq!(cluster.state.tokens().len(), 2);
}

#[test]
fn a_refusal_is_not_remembered() {
    let mut cluster = Cluster::new();
    let early = keyed(&cluster, "user ann", "k1", approve(&name("m-0707070707")));
    assert_eq!(cluster.propose(&early).map_err(|p| p.code), Err(ProblemCode::NotFound));
    cluster.pending(&claim(7));
    cluster.propose(&early).expect("now it can be done");
}

#[test]
fn answers_and_events_are_bounded() {
    let mut cluster = Cluster::new();
    let mut number = 0_u32;
    let mut change = |cluster: &mut Cluster| {
        number += 1;
        cluster.pass(1);
        let until = Some(cluster.now.plus_seconds(60));
        let proposal = keyed(cluster, "user ann", &format!("k{number}"), Command::OpenPxe { until });
        cluster.propose(&proposal).expect("accepted");
    };
    for _ in 0..MAX_ANSWERS.max(MAX_EVENTS) + 5 {
        change(&mut cluster);
    }
    assert_eq!(cluster.state.events().len(), MAX_EVENTS);
    let newest = cluster.state.events().values().next_back().expect("an event").seq;
    let oldest = cluster.state.events().values().next().expect("an event").seq;
    assert_eq!(newest - oldest + 1, u64::try_from(MAX_EVENTS).expect("small"), "without gaps");
    let forgotten = keyed(&cluster, "user ann", "k1", see(7));
    cluster.propose(&forgotten).expect("the oldest key was forgotten");
    let kept = keyed(&cluster, "user ann", "k1000", see(8));
    assert_eq!(cluster.propose(&kept).map_err(|p| p.code), Err(ProblemCode::Conflict));
}
