//! Both sides of the protocol against each other, and against somebody in the middle.

use meadow_enroll::{EnrolError, Greeting, Hellos, JoinToken, Suspicion, Ticket};
use meadow_model::enrolment::{Bytes32, Claim, HelloReply};
use meadow_model::hardware::Hardware;
use meadow_model::mesh::WireGuardKey;
use meadow_model::{Fingerprint, Name, Secret};
use proptest::prelude::*;

const CA: Fingerprint = Fingerprint([1; 32]);
const MACHINE: Fingerprint = Fingerprint([2; 32]);

fn token() -> JoinToken {
    JoinToken::from_random(Name::new("t-1").expect("valid"), CA, [3; 20])
}

fn reply(nonce: [u8; 32], proof: Option<Bytes32>) -> HelloReply {
    HelloReply { nonce: Bytes32(nonce), cluster: Name::new("home").expect("valid"), ca_pem: String::new(), proof }
}

fn claim(nonce: Bytes32, proof: Option<Bytes32>) -> Claim {
    Claim {
        nonce,
        proof,
        ticket: None,
        wireguard: WireGuardKey([5; 32]),
        hardware: Hardware::default(),
        measures: None,
        boot: None,
        ephemeral: true,
        wanted_name: None,
    }
}

fn known(token: &JoinToken) -> Option<(Name, Secret<[u8; 32]>)> {
    Some((token.id.clone(), token.key()))
}

proptest! {
    #[test]
    fn both_sides_see_the_same_code_and_the_token_is_proved(machine_nonce: [u8; 32], cluster_nonce: [u8; 32], with_token: bool) {
        let token = token();
        let greeting = Greeting::new(CA, MACHINE, machine_nonce, with_token.then_some(&token));
        let mut hellos = Hellos::new(CA);
        let proof = hellos.hello(MACHINE, &greeting.hello(), cluster_nonce, with_token.then(|| known(&token)).flatten());
        let greeted = greeting.answered(&reply(cluster_nonce, proof)).expect("the cluster is genuine");
        let checked = hellos.claim(&MACHINE, &claim(greeted.nonce, greeted.proof)).expect("the machine is genuine");
        prop_assert_eq!(checked.code, greeted.code);
        prop_assert_eq!(checked.token, with_token.then_some(token.id));
    }

    #[test]
    fn a_relay_with_its_own_key_is_found_out(machine_nonce: [u8; 32], cluster_nonce: [u8; 32], relay: [u8; 32]) {
        prop_assume!(relay != MACHINE.0);
        let token = token();
        let relay = Fingerprint(relay);
        let greeting = Greeting::new(CA, MACHINE, machine_nonce, Some(&token));
        let mut hellos = Hellos::new(CA);
        // The relay says the machine's hello over a TLS connection of its own key and passes the answer on.
        let proof = hellos.hello(relay, &greeting.hello(), cluster_nonce, known(&token));
        prop_assert_eq!(greeting.answered(&reply(cluster_nonce, proof)), Err(Suspicion));
        // Without a token the codes differ, which the person sees.
        let plain = Greeting::new(CA, MACHINE, machine_nonce, None);
        hellos.hello(relay, &plain.hello(), cluster_nonce, None);
        let greeted = plain.answered(&reply(cluster_nonce, None)).expect("no token, no proof");
        let checked = hellos.claim(&relay, &claim(greeted.nonce, None)).expect("the nonce is the right one");
        prop_assert_ne!(checked.code, greeted.code);
    }
}

#[test]
fn a_claim_without_hello_with_another_nonce_or_with_a_wrong_proof_is_refused() {
    let token = token();
    let greeting = Greeting::new(CA, MACHINE, [8; 32], Some(&token));
    let mut hellos = Hellos::new(CA);
    assert_eq!(hellos.claim(&MACHINE, &claim(Bytes32([8; 32]), None)), Err(EnrolError::NoHello));
    hellos.hello(MACHINE, &greeting.hello(), [9; 32], known(&token));
    assert_eq!(hellos.claim(&MACHINE, &claim(Bytes32([7; 32]), None)), Err(EnrolError::BrokenCommitment));
    for wrong in [None, Some(Bytes32([0; 32]))] {
        assert_eq!(hellos.claim(&MACHINE, &claim(Bytes32([8; 32]), wrong)), Err(EnrolError::WrongProof));
    }
}

#[test]
fn a_flood_of_hellos_is_bounded_and_the_newest_stay() {
    let greeting = Greeting::new(CA, MACHINE, [8; 32], None);
    let mut hellos = Hellos::new(CA);
    for number in 0..5000_u32 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        hellos.hello(Fingerprint(key), &greeting.hello(), [9; 32], None);
    }
    let claim = claim(Bytes32([8; 32]), None);
    assert_eq!(hellos.claim(&Fingerprint([0; 32]), &claim), Err(EnrolError::NoHello));
    let mut newest = [0; 32];
    newest[..4].copy_from_slice(&4999_u32.to_be_bytes());
    assert!(hellos.claim(&Fingerprint(newest), &claim).is_ok());
}

#[test]
fn tickets_are_told_apart_by_their_digest_only() {
    let (one, other) = (Ticket::from_random([1; 20]), Ticket::from_random([2; 20]));
    assert_ne!(Ticket::hash(one.text()), Ticket::hash(other.text()));
    assert!(!format!("{one:?}").contains(one.text().expose()));
}
