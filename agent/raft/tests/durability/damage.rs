//! Damage on disk is refused with words that say what to do; it never loses an acknowledged change in silence.

use std::fs;
use std::path::Path;

use meadow_raft::{FILE_NAME, Replica, ReplicaConfig, StoreError};

use crate::support::{bootstrap, has, open, propose_all, runtime, set_boot};

const CHANGES: u32 = 30;

/// The file of a replica with a snapshot and entries after it.
fn good_file(folder: &Path) -> Vec<u8> {
    let replica = open(folder).expect("a new state");
    runtime().block_on(async {
        replica.propose(bootstrap()).await.expect("accepted");
        propose_all(&replica, 0..CHANGES).await.expect("accepted");
        replica.shutdown().await;
    });
    fs::read(folder.join(FILE_NAME)).expect("the file is there")
}

/// Opens the replica on these bytes: the text of the refusal, or `None` where it opened and nothing is missing.
fn try_open(bytes: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(FILE_NAME), bytes).expect("written");
    match open(folder.path()) {
        Err(error) => Some(error.to_string()),
        Ok(replica) => {
            let state = replica.state();
            let missing: Vec<u32> = (0..CHANGES).filter(|number| !has(&state, *number)).collect();
            assert!(missing.is_empty(), "opened without {missing:?}");
            runtime().block_on(replica.shutdown());
            None
        }
    }
}

fn flipped(bytes: &[u8], position: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    damaged[position] ^= 0x01;
    damaged
}

fn positions_of(bytes: &[u8], text: &str) -> Vec<usize> {
    let found = |(position, window): (usize, &[u8])| (window == text.as_bytes()).then_some(position);
    bytes.windows(text.len()).enumerate().filter_map(found).collect()
}

#[test]
fn a_flipped_bit_in_a_record_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = good_file(folder.path());
    assert_eq!(try_open(&good), None, "the undamaged file opens");
    // A digit of a MAC address that becomes another digit: only a checksum can notice. One in the last entry, which
    // no later one proves, and one that lies in the snapshot.
    for text in [r#"52:54:00:00:00:1d""#, r#"52:54:00:00:00:05""#] {
        let positions = positions_of(&good, text);
        assert!(!positions.is_empty(), "{text} is in the file");
        // Copies in pages that are no longer used may stay; in one of them the record is alive.
        let digit = |at: &usize| at + text.len() - 3;
        let refusals: Vec<String> = positions.iter().filter_map(|at| try_open(&flipped(&good, digit(at)))).collect();
        assert!(!refusals.is_empty(), "nobody noticed the damage in {text}");
        for refusal in refusals {
            assert!(refusal.contains(FILE_NAME) && refusal.contains("backup"), "{refusal}");
            assert!(refusal.contains("enrol it again"), "{refusal}");
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_is_refused_or_harmless() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = good_file(folder.path());
    let used = good.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    // A stride that is prime to the page size visits all places in a page.
    for position in (0..320).chain((320..used).step_by(3_001)) {
        if let Some(refusal) = try_open(&flipped(&good, position)) {
            assert!(refusal.contains(FILE_NAME), "byte {position}: {refusal}");
        }
    }
}

#[test]
fn a_file_that_was_cut_off_is_refused_or_complete() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = good_file(folder.path());
    for missing in [1, 512, 4096, 65_536, good.len() / 2, good.len() - 1] {
        if let Some(refusal) = try_open(good.get(..good.len().saturating_sub(missing)).unwrap_or_default()) {
            assert!(refusal.contains(FILE_NAME), "{missing} bytes: {refusal}");
        }
    }
}

#[test]
fn a_file_of_something_else_is_refused() {
    let refusal = try_open(&b"not a database ".repeat(1000)).expect("refused");
    assert!(refusal.contains(FILE_NAME) && refusal.contains("backup"), "{refusal}");
}

#[test]
fn one_folder_has_one_replica_and_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let replica = open(folder.path()).expect("a new state");
    assert!(matches!(open(folder.path()), Err(StoreError::InUse { .. })));
    runtime().block_on(async {
        replica.propose(bootstrap()).await.expect("accepted");
        replica.propose(set_boot(1)).await.expect("accepted");
        replica.shutdown().await;
    });
    let other = Replica::open(folder.path(), ReplicaConfig::new(2));
    assert!(matches!(other, Err(StoreError::OtherReplica { found: 1, expected: 2, .. })));
    assert!(matches!(Replica::open(folder.path(), ReplicaConfig::new(0)), Err(StoreError::Defect(_))));
}
