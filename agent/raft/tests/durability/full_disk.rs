//! A full disk refuses changes, loses nothing, and goes on when there is space; a failing disk ends it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use meadow_model::{Problem, ProblemCode};
use meadow_raft::ReplicaHandle;

use crate::support::{bootstrap, child_folder, claim, has, open, run_child, runtime, set_boot};

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str]) {
    let status = Process::new(program).args(arguments).status().expect("util-linux is installed");
    assert!(status.success(), "{program} {arguments:?} failed; these tests need root");
}

/// Writes a file until the disk is full.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let block = vec![0; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

/// Proposes large changes until one is refused; the numbers of the accepted ones and the refusal.
async fn until_refused(replica: &ReplicaHandle, from: u32) -> (Vec<u32>, Problem) {
    let mut accepted = Vec::new();
    for number in from..from + 10_000 {
        match replica.propose(claim(number, 20_000)).await {
            Ok(_) => accepted.push(number),
            Err(problem) => return (accepted, problem),
        }
    }
    panic!("{} large changes fit on a full disk", accepted.len());
}

#[test]
fn a_full_disk_refuses_changes_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    // A mount namespace of its own: nobody else sees the small disk, and it goes with the child.
    let wrapper = ["unshare", "--mount", "--propagation", "private"];
    run_child(&wrapper, "full_disk::on_a_small_disk", folder.path());
}

#[test]
#[ignore = "a child of the test above, in a mount namespace"]
fn on_a_small_disk() {
    let disk = child_folder();
    run("mount", &["-t", "tmpfs", "-o", "size=24m", "tmpfs", &disk.to_string_lossy()]);
    let (state, filler) = (disk.join("raft"), disk.join("filler"));
    runtime().block_on(async {
        let replica = open(&state).expect("opens");
        replica.propose(bootstrap()).await.expect("accepted");
        fill(&filler);
        let (mut accepted, refusal) = until_refused(&replica, 0).await;
        assert_eq!(refusal.code, ProblemCode::StorageFull, "{refusal}");
        assert!(refusal.detail.contains("state.redb"), "{refusal}");
        let refused = u32::try_from(accepted.len()).expect("small");
        assert!(accepted.iter().all(|number| has(&replica.state(), *number)), "reading goes on");
        assert!(!has(&replica.state(), refused), "what was refused did not happen");

        // A restart on the full disk can read, and still refuses.
        replica.shutdown().await;
        let replica = open(&state).expect("opens on a full disk");
        assert!(accepted.iter().all(|number| has(&replica.state(), *number)), "nothing was lost");
        assert!(!has(&replica.state(), refused));
        let (more, refusal) = until_refused(&replica, 20_000).await;
        assert_eq!(refusal.code, ProblemCode::StorageFull, "{refusal}");
        accepted.extend(more);

        fs::remove_file(&filler).expect("removed");
        let late = 40_000;
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(problem) = replica.propose(set_boot(late)).await {
            assert_eq!(problem.code, ProblemCode::StorageFull, "{problem}");
            assert!(Instant::now() < deadline, "still refused with space: {problem}");
            tokio::task::yield_now().await;
        }
        accepted.push(late);
        assert!(replica.is_leader());
        replica.shutdown().await;
        let replica = open(&state).expect("opens");
        assert!(accepted.iter().all(|number| has(&replica.state(), *number)), "nothing was lost");
        replica.shutdown().await;
    });
}

#[test]
fn a_failing_disk_ends_the_writing_and_not_the_reading() {
    let folder = tempfile::tempdir().expect("a folder");
    // With the signal ignored, writing beyond the limit is an error: one that is not "disk full".
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    run_child(&wrapper, "full_disk::on_a_failing_disk", folder.path());
    let replica = open(&folder.path().join("raft")).expect("opens after the failure");
    assert!(has(&replica.state(), 0), "what was acknowledged is there");
    runtime().block_on(async {
        replica.propose(set_boot(90_000)).await.expect("and it goes on");
        replica.shutdown().await;
    });
}

#[test]
#[ignore = "a child of the test above, with a limit"]
fn on_a_failing_disk() {
    let replica = open(&child_folder().join("raft")).expect("opens");
    runtime().block_on(async {
        replica.propose(bootstrap()).await.expect("accepted");
        replica.propose(claim(0, 20_000)).await.expect("accepted");
        run("prlimit", &["--pid", &std::process::id().to_string(), "--fsize=4096:4096"]);
        let (accepted, refusal) = until_refused(&replica, 1).await;
        assert_eq!(refusal.code, ProblemCode::StorageFailed, "{refusal}");
        assert!(!replica.is_leader());
        assert!(has(&replica.state(), 0) && accepted.iter().all(|n| has(&replica.state(), *n)), "reading goes on");
        let again = replica.propose(set_boot(1)).await.expect_err("refused for good");
        assert_eq!(again.code, ProblemCode::StorageFailed, "{again}");
    });
}
