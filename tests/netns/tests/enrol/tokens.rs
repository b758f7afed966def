//! Tokens that let nobody in: each says why and what to do, and a good one works right after.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use meadow_enroll::JoinToken;
use meadow_model::Fingerprint;
use meadow_tests_netns::{Computer, Ran, Site};

use crate::support::{event_codes, node_names, text, token};

/// A token made from a good one, in a file.
fn altered(seed: &Computer, good: &Path, name: &str, alter: impl Fn(&JoinToken) -> JoinToken) -> PathBuf {
    let token: JoinToken = fs::read_to_string(good).expect("token").parse().expect("a token");
    let path = seed.file(name);
    fs::write(&path, alter(&token).text().expose()).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("private");
    path
}

#[test]
fn bad_tokens_are_refused_with_the_next_step_and_a_good_one_follows() {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.seed().expect("a seed");
    let mut desk = site.computer("desk", 3).expect("a computer");
    let mut shelf = site.computer("shelf", 4).expect("a computer");
    let (short_name, expired) = token(&seed, "expired", &["--for", "10s"]);
    desk.start_agent(&mut site).expect("started");
    shelf.start_agent(&mut site).expect("started");
    let (good_name, good) = token(&seed, "good", &["--uses", "1"]);
    let (revoked_name, revoked) = token(&seed, "revoked", &[]);
    seed.meadow(&["token", "revoke", &revoked_name]).expect("run").assert_refused(2, &["--accept-risk=revoke-token"]);
    let consent = ["token", "revoke", &revoked_name, "--yes", "--accept-risk=revoke-token"];
    seed.meadow(&consent).expect("run").success().expect("revoked");
    seed.until("the token to expire", |seed| {
        // Asked of the state, not of a clock: the seed is who refuses.
        let token = seed.json(&["token", "show", &short_name])?;
        let expires: meadow_model::Timestamp = serde_json::from_value(token["spec"]["expires"].clone())?;
        Ok((expires.as_millis() < now_millis()).then_some(()))
    })
    .expect("expired");

    let ca = Fingerprint([7; 32]);
    let wrong_secret =
        altered(&seed, &good, "secret", |t| JoinToken::from_random(t.id.clone(), t.ca_fingerprint, [1; 20]));
    let unknown_id = altered(&seed, &good, "id", |t| {
        JoinToken::from_random("t-unknown".parse().expect("a name"), t.ca_fingerprint, [1; 20])
    });
    let foreign = altered(&seed, &good, "foreign", |t| JoinToken::from_random(t.id.clone(), ca, [1; 20]));
    let host = seed.address().to_string();
    for (file, words) in [
        (&expired, ["has expired", "meadow token create"]),
        (&revoked, ["is not valid", "meadow token create"]),
        (&unknown_id, ["is not valid", "meadow token create"]),
        (&wrong_secret, ["does not know the join token", "meadow token create"]),
        (&foreign, ["belongs to another cluster", "address"]),
    ] {
        desk.join(&host, file, &[]).expect("run").assert_refused(5, &words);
        assert!(!desk.state_file("join.json").exists(), "the token stays on the computer");
    }
    assert_eq!(node_names(&seed), ["seed"]);
    assert_eq!(used(&seed, &good_name), 0, "a stranger used the token up");

    let joined = desk.join(&host, &good, &[]).expect("run").success().expect("joined");
    assert!(!joined.stderr.contains("warning"), "{joined:?}");
    seed.wait_for_node("desk").expect("ready");
    assert_eq!(used(&seed, &good_name), 1);
    let reused = shelf.join(&host, &good, &[]).expect("run");
    reused.assert_refused(5, &["was used up", "meadow token create --uses N"]);

    let (twice_name, twice) = token(&seed, "twice", &["--uses", "2"]);
    fs::set_permissions(&twice, fs::Permissions::from_mode(0o644)).expect("public");
    let readable: Ran = shelf.join(&host, &twice, &[]).expect("run").success().expect("joined");
    assert!(readable.stderr.contains("can be read by others") && readable.stderr.contains("chmod 600"), "{readable:?}");
    seed.wait_for_node("shelf").expect("ready");
    assert_eq!(used(&seed, &twice_name), 1);
    assert!(event_codes(&seed, "desk").iter().any(|code| code == "node-joined"));
    desk.until("the other node by name", |desk| Ok(desk.pings("shelf")?.then_some(()))).expect("reached");
}

fn used(seed: &Computer, name: &str) -> u64 {
    let token = seed.json(&["token", "show", name]).expect("a token");
    assert_eq!(text(&token, "/metadata/name"), name);
    token["status"]["used"].as_u64().expect("a number")
}

fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("not that late")
}
