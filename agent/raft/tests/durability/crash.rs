//! `kill -9` at any moment: every acknowledged change is there afterwards.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{bootstrap, child, child_folder, has, open, runtime, set_boot};

const KILLS: u32 = 5;
const CLIENTS: u32 = 4;

#[test]
fn every_acknowledged_change_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged: Vec<u32> = Vec::new();
    for round in 0..KILLS {
        let mut process = child(&[], "crash::proposes_until_it_is_killed", folder.path())
            .env("MEADOW_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        // Different numbers of changes, so that the kill comes at other points of a batch and of a snapshot.
        let enough = acknowledged.len() + 15 + 17 * usize::try_from(round).expect("small");
        for line in lines.by_ref().map_while(Result::ok) {
            acknowledged.extend(line.strip_prefix("acknowledged ").and_then(|n| n.parse::<u32>().ok()));
            if acknowledged.len() >= enough {
                break;
            }
        }
        process.kill().expect("SIGKILL");
        // What it had still written when it died was acknowledged as well.
        let rest = lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("acknowledged ")?.parse::<u32>().ok());
        acknowledged.extend(rest);
        process.wait().expect("the child ends");
        assert!(acknowledged.len() >= enough, "the child made {} changes of {enough}", acknowledged.len());

        let replica = open(folder.path()).expect("the state opens after a kill");
        let state = replica.state();
        let lost: Vec<&u32> = acknowledged.iter().filter(|number| !has(&state, **number)).collect();
        assert!(lost.is_empty(), "lost after kill {round}: {lost:?}");
        runtime().block_on(replica.shutdown());
    }
}

#[test]
#[ignore = "a child of the test above, which kills it"]
fn proposes_until_it_is_killed() {
    let folder = child_folder();
    let round: u32 = std::env::var("MEADOW_TEST_ROUND").ok().and_then(|n| n.parse().ok()).expect("a round");
    let replica = open(&folder).expect("the state opens");
    runtime().block_on(async {
        replica.propose(bootstrap()).await.expect("bootstrapped");
        let clients = (0..CLIENTS).map(|client| {
            let replica = replica.clone();
            tokio::spawn(async move {
                for number in 0..1_000_000 {
                    let number = (round * 1_000_000 + number) * CLIENTS + client;
                    replica.propose(set_boot(number)).await.expect("accepted");
                    println!("acknowledged {number}");
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.expect("the client goes on until the kill");
        }
    });
}
