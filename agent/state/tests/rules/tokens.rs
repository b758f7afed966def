//! Join tokens.

use meadow_model::machine::Decision;
use meadow_model::{ProblemCode, Secret};
use meadow_state::command::Command;
use meadow_state::{MAX_TOKEN_USES, MAX_TOKENS};

use crate::support::*;

fn revoke(id: &str) -> Command {
    Command::RevokeToken { id: name(id), if_match: None }
}

#[test]
fn a_token_lets_as_many_in_as_it_says() {
    let mut cluster = Cluster::new();
    cluster.ok(create_token("abc", 2));
    let (machine, node) = cluster.admitted(&with_token(durable(claim(7)), "abc"));
    assert_eq!(node, name("node-2"));
    let by = &cluster.machine(machine.as_str()).spec.decision;
    assert!(matches!(by, Decision::Approved { by, .. } if by == "token abc"));
    cluster.admitted(&with_token(claim(7), "abc"));
    let used = |cluster: &Cluster| cluster.state.tokens().get(&name("abc")).map(|t| t.status.used);
    assert_eq!(used(&cluster), Some(1), "once per key");
    cluster.admitted(&with_token(claim(8), "abc"));
    assert_eq!(cluster.claim(&with_token(claim(9), "abc")), Err(ProblemCode::TokenUsed));
    assert_eq!(used(&cluster), Some(2));
    assert_eq!(cluster.state.machines().len(), 2, "the refused one is not listed");
    assert_eq!(cluster.admitted(&with_token(claim(8), "abc")).1, name("node-3"), "its answer was lost");
}

#[test]
fn a_token_that_is_not_good_is_refused_with_one_warning_a_minute() {
    let mut cluster = Cluster::new();
    cluster.ok(create_token("old", 1));
    cluster.ok(create_token("gone", 1));
    cluster.ok(revoke("gone"));
    assert!(cluster.state.token_key(&name("gone")).is_none());
    assert!(cluster.state.token_key(&name("old")).is_some());
    cluster.pass(600);
    let table = [
        ("old", ProblemCode::TokenExpired, "token-expired"),
        ("gone", ProblemCode::InvalidToken, "invalid-token"),
        ("none", ProblemCode::InvalidToken, "invalid-token"),
    ];
    for (id, code, event) in table {
        let before = cluster.warnings(event).len();
        for number in 7..10 {
            assert_eq!(cluster.claim(&with_token(claim(number), id)), Err(code), "{id}");
        }
        assert_eq!(cluster.warnings(event).len(), before + 1, "{id}");
    }
    assert!(cluster.state.machines().is_empty());
}

#[test]
fn making_and_revoking_are_checked() {
    let mut cluster = Cluster::new();
    cluster.ok(create_token("abc", 1));
    assert_eq!(cluster.refused(create_token("abc", 1)), ProblemCode::AlreadyExists);
    for uses in [0, MAX_TOKEN_USES + 1] {
        assert_eq!(cluster.refused(create_token("other", uses)), ProblemCode::BadRequest);
    }
    assert_eq!(cluster.refused(revoke("none")), ProblemCode::NotFound);
    let wrong = Command::RevokeToken { id: name("abc"), if_match: Some(999) };
    assert_eq!(cluster.refused(wrong), ProblemCode::RevisionMismatch);
    cluster.ok(revoke("abc"));
    assert!(cluster.ok(revoke("abc")).changed.is_empty());
    cluster.pass(600);
    assert_eq!(cluster.refused(create_token("late", 1)), ProblemCode::BadRequest, "it would be over already");
}

#[test]
fn tokens_are_bounded_and_old_ones_go() {
    let mut cluster = Cluster::new();
    for number in 0..MAX_TOKENS {
        cluster.ok(create_token(&format!("t{number}"), 1));
    }
    assert_eq!(cluster.refused(create_token("more", 1)), ProblemCode::Conflict);
    cluster.ok(revoke("t5"));
    cluster.ok(create_token("more", 1));
    assert!(!cluster.state.tokens().contains(&name("t5")), "a useless one made room");
    cluster.pass(600 + 24 * 3600);
    let expires = cluster.now.plus_seconds(60);
    cluster.ok(Command::CreateToken { id: name("new"), key: Secret::new([0; 32]), expires, uses: 1 });
    assert_eq!(cluster.state.tokens().len(), 1, "a day after they ended they are forgotten");
}

#[test]
fn the_key_of_a_token_is_never_shown() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::CreateToken {
        id: name("abc"),
        key: Secret::new([0xA7; 32]),
        expires: start().plus_seconds(60),
        uses: 1,
    });
    assert!(!format!("{:?}", cluster.state).contains("167"));
}
