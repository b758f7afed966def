//! Whatever is proposed, in whatever order: the state stays consistent, and every replica has the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_model::code::VerificationCode;
use meadow_model::hardware::{Disk, Hardware, Nic};
use meadow_model::machine::Decision;
use meadow_model::mesh::WireGuardKey;
use meadow_model::{Fingerprint, MacAddress, Name, Secret, Timestamp};
use meadow_state::State;
use meadow_state::command::{Bootstrap, ClaimRecord, Command, Credential, FirstNode, MachineRef, Proposal};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Few of everything, so that commands meet each other.
fn small() -> impl Strategy<Value = u8> {
    1..6_u8
}

fn mac() -> impl Strategy<Value = MacAddress> {
    prop_oneof![small().prop_map(|n| MacAddress([0x52, 0x54, 0, 0, 0, n])), Just(MacAddress([0xff; 6]))]
}

fn node_name() -> impl Strategy<Value = Name> {
    select(vec!["seed", "node-2", "node-3", "attic", "localhost"]).prop_map(|text| Name::new(text).expect("valid"))
}

fn machine_name() -> impl Strategy<Value = Name> {
    small().prop_flat_map(|n| {
        let digits = format!("{n:02x}").repeat(5);
        select(vec![format!("m-52540000000{n}"), format!("m-{digits}")]).prop_map(|t| Name::new(t).expect("valid"))
    })
}

fn machine_ref() -> impl Strategy<Value = MachineRef> {
    prop_oneof![machine_name().prop_map(MachineRef::Name), mac().prop_map(MachineRef::Mac)]
}

fn token() -> impl Strategy<Value = Name> {
    small().prop_map(|n| Name::new(format!("t{n}")).expect("valid"))
}

fn hash() -> impl Strategy<Value = [u8; 32]> {
    small().prop_map(|n| [n; 32])
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..400_i64).prop_map(|minutes| Timestamp::from_millis(1_800_000_000_000).plus_seconds(minutes * 60))
}

fn hardware() -> impl Strategy<Value = Hardware> {
    (vec(mac(), 0..3), vec(small(), 0..2), option::of(small())).prop_map(|(macs, disks, uuid)| Hardware {
        uuid: uuid.map(|n| format!("{n:032x}")),
        nics: macs
            .into_iter()
            .map(|mac| Nic { name: "eth0".to_owned(), mac, driver: None, speed_mbit: None, carrier: true })
            .collect(),
        disks: disks.into_iter().map(|n| Disk { serial: Some(format!("d{n}")), ..Disk::default() }).collect(),
        ..Hardware::default()
    })
}

fn credential() -> impl Strategy<Value = Credential> {
    prop_oneof![Just(Credential::None), hash().prop_map(Credential::Ticket), token().prop_map(Credential::Token)]
}

fn claim() -> impl Strategy<Value = Command> {
    let who = (hash(), hash(), option::of(mac()), hardware());
    (who, credential(), any::<bool>(), option::of(node_name())).prop_map(|(who, credential, ephemeral, wanted_name)| {
        let (fingerprint, wireguard, mac, hardware) = who;
        let fingerprint = Fingerprint(fingerprint);
        Command::Claim(Box::new(ClaimRecord {
            fingerprint,
            code: VerificationCode::compute(&fingerprint, &fingerprint, &wireguard, &wireguard),
            credential,
            address: IpAddr::from(Ipv4Addr::LOCALHOST),
            wireguard: WireGuardKey(wireguard),
            mac,
            hardware,
            measures: None,
            ephemeral,
            wanted_name,
            lost: None,
        }))
    })
}

fn command() -> impl Strategy<Value = Command> {
    let if_match = || option::weighted(0.1, 0..40_u64);
    let policy = select(vec![BootPolicy::Ignore, BootPolicy::Image, BootPolicy::LocalDisk, BootPolicy::Hold]);
    let armed = (machine_ref(), hash(), time(), option::of(node_name()), option::of(node_name()), if_match());
    prop_oneof![
        2 => mac().prop_map(|mac| Command::SeeMachine { mac, arch: "x64 UEFI".to_owned(), architecture: None }),
        1 => (machine_ref(), policy, any::<bool>(), if_match())
            .prop_map(|(machine, boot, plain_pxe, if_match)| Command::SetBoot { machine, boot, plain_pxe, options: BootOptions::default(), if_match }),
        3 => armed.prop_map(|(machine, ticket_hash, expires, node, replaces, if_match)| {
            Command::Arm { machine, ticket_hash, expires, node, replaces, if_match }
        }),
        1 => (vec(small(), 0..4), if_match()).prop_map(|(keys, if_match)| Command::SetSshKeys {
            keys: keys.iter().map(|n| ssh_key(*n)).collect(), if_match,
        }),
        1 => option::of(time()).prop_map(|until| Command::OpenPxe { until }),
        8 => claim(),
        5 => (machine_name(), option::of(node_name()), option::of(node_name()), if_match())
            .prop_map(|(machine, node, replaces, if_match)| Command::Approve { machine, node, replaces, if_match }),
        1 => (machine_name(), if_match()).prop_map(|(machine, if_match)| Command::Reject { machine, if_match }),
        2 => (token(), hash(), time(), 0..4_u32)
            .prop_map(|(id, key, expires, uses)| Command::CreateToken { id, key: Secret::new(key), expires, uses }),
        1 => (token(), if_match()).prop_map(|(id, if_match)| Command::RevokeToken { id, if_match }),
        1 => (node_name(), small()).prop_map(|(node, n)| {
            Command::SetEndpoint { node, endpoint: SocketAddr::from(([192, 0, 2, n], 51_820)) }
        }),
        1 => node_name().prop_map(|node| Command::NodeJoined { node, version: "0.1.0".to_owned() }),
        1 => small().prop_map(|n| Command::AdoptImage {
            name: Name::new(format!("image-{}", n % 4)).expect("valid"),
            spec: Box::new(meadow_model::image::ImageSpec {
                version: format!("0.{n}.0-x"),
                kernel: "6".to_owned(),
                architecture: "x86_64".to_owned(),
                date: Timestamp::from_millis(i64::from(n)),
                digest: (n % 4).to_string(),
                size_bytes: 1,
                release_signature: String::new(),
            }),
        }),
        1 => (small(), any::<bool>()).prop_map(|(n, allow_older)| Command::StartRollout {
            digest: (n % 5).to_string(), allow_older, without_majority: false,
        }),
        1 => Just(Command::CallOffRollout),
        1 => small().prop_map(|n| Command::EndRollout {
            operation: Name::new(format!("op-{:010}", n)).expect("valid"),
            end: meadow_state::command::OperationEnd::Succeeded,
        }),
        1 => (small(), if_match()).prop_map(|(n, if_match)| Command::RemoveImage {
            name: Name::new(format!("image-{}", n % 4)).expect("valid"), if_match,
        }),
        2 => (node_name(), if_match()).prop_map(|(node, if_match)| Command::RemoveNode { node, if_match }),
    ]
}

/// A key, or now and then none.
fn ssh_key(number: u8) -> String {
    let kind = if number % 4 == 3 { "ssh-dss" } else { "ssh-ed25519" };
    format!("{kind} AAAAC3NzaC1lZDI1NTE5AAAAIAAA{number:A>40} admin")
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (time(), small(), option::weighted(0.2, small()), command()).prop_map(|(at, actor, key, command)| Proposal {
        at,
        actor: format!("user {actor}"),
        idempotency_key: key.map(|n| n.to_string()),
        command,
    })
}

fn bootstrap() -> Proposal {
    let name = |text: &str| Name::new(text).expect("valid");
    let node = FirstNode {
        name: name("seed"),
        fingerprint: Fingerprint([200; 32]),
        wireguard: WireGuardKey([200; 32]),
        endpoint: None,
        hardware: None,
        measures: None,
    };
    let bootstrap = Bootstrap {
        cluster: name("home"),
        ca_fingerprint: Fingerprint([201; 32]),
        authorized_keys: Vec::new(),
        release_key: String::new(),
        node,
        pxe_open_until: None,
    };
    Proposal {
        at: Timestamp::from_millis(1_800_000_000_000),
        actor: "user ann".to_owned(),
        idempotency_key: None,
        command: Command::Bootstrap(Box::new(bootstrap)),
    }
}

/// What must hold after every command.
fn check(state: &State) {
    let nodes: Vec<_> = state.nodes().values().collect();
    let distinct = |what: &str, count: usize| assert_eq!(count, nodes.len(), "two nodes have one {what}");
    distinct("number", nodes.iter().map(|n| n.spec.id).collect::<BTreeSet<_>>().len());
    distinct("identity", nodes.iter().map(|n| n.spec.fingerprint).collect::<BTreeSet<_>>().len());
    distinct("mesh key", nodes.iter().map(|n| n.spec.wireguard).collect::<BTreeSet<_>>().len());
    distinct("address", nodes.iter().map(|n| n.spec.address).collect::<BTreeSet<_>>().len());
    assert!(nodes.iter().any(|n| n.spec.voter), "no voter is left");
    assert!(nodes.iter().all(|n| !(n.spec.voter && n.spec.ephemeral)), "a node in RAM votes");
    for node in &nodes {
        assert!(!state.revoked().contains(&node.spec.fingerprint), "{} is revoked and a node", node.metadata.name);
        let view = state.mesh_view(&node.metadata.name).expect("every node has a view");
        assert_eq!(view.peers.len() + 1, nodes.len(), "everybody sees everybody else");
    }
    let machines: Vec<_> = state.machines().values().collect();
    let keys: Vec<_> = machines.iter().filter_map(|m| m.status.fingerprint).collect();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "one key is two machines");
    for machine in &machines {
        if let Decision::Approved { node, .. } = &machine.spec.decision {
            let node = state.nodes().get(node).expect("an approved machine has its node");
            assert_eq!(Some(node.spec.fingerprint), machine.status.fingerprint, "{}", machine.metadata.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_state_consistent_and_is_the_same_on_every_replica(history in vec(proposal(), 0..60)) {
        let (mut one, mut two) = (State::default(), State::default());
        let mut numbers: BTreeMap<u64, Fingerprint> = BTreeMap::new();
        let mut generation = 0;
        for (index, proposal) in (2..).zip(std::iter::once(&bootstrap()).chain(&history)) {
            let before = one.clone();
            let result = one.apply(index, proposal);
            // A replica that reads the proposal from its log, as text, and was restored from a snapshot.
            let text = serde_json::to_string(proposal).expect("written");
            let read: Proposal = serde_json::from_str(&text).expect("read");
            two = State::from_snapshot(&two.to_snapshot().expect("written")).expect("read");
            prop_assert_eq!(&two.apply(index, &read), &result);
            prop_assert_eq!(&one, &two);

            check(&one);
            prop_assert_eq!(one.revision(), index);
            if result.is_err() {
                let mut same = before.clone();
                same.skip(index);
                prop_assert_eq!(&one, &same, "a refusal changed something");
            }
            for node in one.nodes().values() {
                let first = *numbers.entry(node.spec.id).or_insert(node.spec.fingerprint);
                prop_assert_eq!(first, node.spec.fingerprint, "a number was used again");
            }
            prop_assert!(one.mesh_generation() >= generation);
            let views = |state: &State| state.nodes().keys().map(|n| state.mesh_view(n)).collect::<Vec<_>>();
            if views(&one) != views(&before) {
                prop_assert!(one.mesh_generation() > generation, "the mesh changed without a new generation");
            }
            generation = one.mesh_generation();
        }
    }
}
