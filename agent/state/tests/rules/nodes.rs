//! Nodes: the mesh, removal, the beginning.

use meadow_model::ProblemCode;
use meadow_model::operation::OperationState;
use meadow_state::command::Command;

use crate::support::*;

#[test]
fn nothing_happens_before_there_is_a_cluster() {
    let mut cluster = Cluster::empty();
    for command in [see(1), create_token("abc", 1), remove("seed"), Command::Claim(Box::new(claim(1)))] {
        assert_eq!(cluster.refused(command), ProblemCode::Conflict);
    }
    cluster.ok(bootstrap(100));
    let before = cluster.state.clone();
    assert!(cluster.ok(bootstrap(100)).changed.is_empty(), "again with the same CA");
    assert_eq!(cluster.state.nodes(), before.nodes());
    assert_eq!(cluster.refused(bootstrap(101)), ProblemCode::Conflict);
    let seed = cluster.node("seed");
    assert!(seed.spec.voter && !seed.spec.ephemeral && seed.spec.id == 1);
}

#[test]
fn each_node_sees_the_others() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "attic"));
    let endpoint = "192.0.2.7:51820".parse().expect("an address");
    let generation = cluster.state.mesh_generation();
    let set = Command::SetEndpoint { node: name("attic"), endpoint };
    cluster.ok(set.clone());
    assert!(cluster.ok(set).changed.is_empty(), "unchanged");
    assert_eq!(cluster.state.mesh_generation(), generation + 1);
    let view = cluster.state.mesh_view(&name("seed")).expect("a view");
    assert_eq!((view.generation, view.name), (generation + 1, name("seed")));
    assert_eq!(view.address, cluster.node("seed").spec.address);
    let [peer] = view.peers.as_slice() else { panic!("{:?}", view.peers) };
    assert_eq!((peer.name.as_str(), peer.endpoint, peer.reports), ("attic", Some(endpoint), false));
    assert_eq!((peer.key, peer.address), (claim(7).wireguard, cluster.node("attic").spec.address));
    let view = cluster.state.mesh_view(&name("attic")).expect("a view");
    assert!(view.peers.iter().all(|peer| peer.reports), "the voter takes reports");
    assert_eq!(cluster.state.mesh_view(&name("nobody")), None);
    assert_eq!(cluster.refused(Command::SetEndpoint { node: name("nobody"), endpoint }), ProblemCode::NotFound);
}

#[test]
fn a_removed_node_leaves_the_mesh_and_its_work_ends() {
    let mut cluster = Cluster::new();
    let (machine, _) = cluster.pending(&claim(7));
    cluster.ok(approve_as(&machine, "attic"));
    let generation = cluster.state.mesh_generation();
    let wrong = Command::RemoveNode { node: name("attic"), if_match: Some(1) };
    assert_eq!(cluster.refused(wrong), ProblemCode::RevisionMismatch);
    cluster.ok(remove("attic"));
    assert!(cluster.state.mesh_generation() > generation);
    assert_eq!(cluster.state.mesh_view(&name("seed")).map(|v| v.peers.len()), Some(0));
    assert_eq!(cluster.state.revoked().get(&key(7)).map(|r| r.node.clone()), Some(name("attic")));
    let states: Vec<_> = cluster.state.operations().values().map(|o| o.status.state).collect();
    assert_eq!(states, [OperationState::Failed], "it never reported");
    assert_eq!(cluster.refused(remove("attic")), ProblemCode::NotFound);
}

#[test]
fn the_last_voter_stays() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.refused(remove("seed")), ProblemCode::LastVoter);
    assert_eq!(cluster.state.nodes().len(), 1);
}
