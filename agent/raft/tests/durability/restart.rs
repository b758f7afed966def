//! Ordinary life: restarts, snapshots, many clients at once, the end.

use meadow_model::ProblemCode;
use meadow_raft::{FILE_NAME, MAX_PROPOSAL_BYTES};
use meadow_state::command::Command;

use crate::support::{bootstrap, claim, has, name, open, proposal, propose_all, runtime, set_boot};

#[test]
fn a_restart_finds_the_same_state() {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        // Fewer and more entries than lie between two snapshots.
        let mut next = 0;
        for count in [5, 15, 61] {
            let replica = open(folder.path()).expect("opens");
            assert!(replica.is_leader(), "leads at once");
            replica.propose(bootstrap()).await.expect("accepted");
            propose_all(&replica, next..next + count).await.expect("accepted");
            next += count;
            let before = replica.state();
            replica.shutdown().await;
            assert!(!replica.is_leader());
            let again = open(folder.path()).expect("opens");
            let after = again.state();
            assert!(after.revision() > before.revision(), "a new term begins with an entry of its own");
            assert!(after.machines() == before.machines() && after.events() == before.events());
            assert_eq!(after.machines().len(), usize::try_from(next).expect("small"));
            again.shutdown().await;
        }
    });
}

#[test]
fn the_file_stays_small_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("raft");
    runtime().block_on(async {
        let replica = open(&inner).expect("opens");
        replica.propose(bootstrap()).await.expect("accepted");
        for _ in 0..200 {
            replica.propose(claim(1, 10_000)).await.expect("accepted");
        }
        replica.shutdown().await;
    });
    let file = std::fs::metadata(inner.join(FILE_NAME)).expect("the file");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&inner).expect("the folder").permissions().mode() & 0o777, 0o700);
    assert!(file.len() < 8 << 20, "2 MB of entries, all but 20 folded, take {} bytes", file.len());
}

#[test]
fn many_clients_are_served_and_each_reads_its_own_write() {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let replica = open(folder.path()).expect("opens");
        replica.propose(bootstrap()).await.expect("accepted");
        let clients: Vec<_> = (0..64)
            .map(|number| {
                let replica = replica.clone();
                tokio::spawn(async move {
                    let applied = replica.propose(set_boot(number)).await.expect("accepted");
                    let state = replica.state();
                    assert!(has(&state, number), "the state shows what was acknowledged");
                    assert!(state.revision() >= applied.index);
                    applied.index
                })
            })
            .collect();
        let mut indexes = Vec::new();
        for client in clients {
            indexes.push(client.await.expect("served"));
        }
        indexes.sort_unstable();
        indexes.dedup();
        assert_eq!(indexes.len(), 64, "each change has its own place in the log");
        replica.shutdown().await;
    });
}

#[test]
fn a_refusal_reaches_only_who_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let replica = open(folder.path()).expect("opens");
        let early = replica.propose(set_boot(1)).await.expect_err("there is no cluster yet");
        assert_eq!(early.code, ProblemCode::Conflict);
        replica.propose(bootstrap()).await.expect("accepted");
        let approve = Command::Approve { machine: name("nobody"), node: None, replaces: None, if_match: None };
        let (good, bad) = tokio::join!(replica.propose(set_boot(1)), replica.propose(proposal(approve)));
        assert!(good.is_ok());
        assert_eq!(bad.expect_err("no such machine").code, ProblemCode::NotFound);
        let large = replica.propose(claim(1, MAX_PROPOSAL_BYTES)).await.expect_err("too large");
        assert_eq!(large.code, ProblemCode::TooLarge);
        replica.shutdown().await;
    });
}

#[test]
fn the_end_comes_after_what_was_asked_before_and_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let replica = open(folder.path()).expect("opens");
        let mut changes = replica.watch();
        let (bootstrapped, ()) = tokio::join!(biased; replica.propose(bootstrap()), replica.shutdown());
        bootstrapped.expect("accepted before the end");
        assert!(changes.borrow_and_update().cluster().is_some());
        let late = replica.propose(set_boot(1)).await.expect_err("ended");
        assert_eq!(late.code, ProblemCode::Unavailable);
        replica.shutdown().await;
    });
}
