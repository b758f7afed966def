//! Rollouts over simulated nodes: the voter rule, one at a time, the first failure ends it, it comes to an end.

use meadow_model::Name;
use meadow_plan::rollout::{Health, NodeImage, Policy, Step, next};
use proptest::prelude::*;

const OLD: &str = "old";
const NEW: &str = "new";

fn node(number: usize, voter: bool) -> NodeImage {
    NodeImage {
        name: Name::new(format!("node-{number}")).unwrap(),
        voter,
        leader: voter && number == 1,
        running: Some(OLD.to_owned()),
        blessed: Some(OLD.to_owned()),
        other: None,
        trying: false,
        went_back_from: None,
        touched: false,
        health: Health::Healthy,
    }
}

fn cluster(voters: usize, others: usize) -> Vec<NodeImage> {
    (1..=voters + others).map(|number| node(number, number <= voters)).collect()
}

const ALLOWED: Policy = Policy { without_majority: true };

fn healthy_voters(nodes: &[NodeImage]) -> usize {
    nodes.iter().filter(|node| node.voter && node.health == Health::Healthy).count()
}

fn of<'a>(nodes: &'a mut [NodeImage], name: &Name) -> &'a mut NodeImage {
    nodes.iter_mut().find(|node| node.name == *name).expect("a step is about a node that there is")
}

/// What the next restart of a node does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Well,
    GoesBack,
    Sick,
}

/// Carries a step out; what is waited for happens.
fn carry_out(nodes: &mut [NodeImage], step: &Step, fate: &dyn Fn(&Name) -> Fate) {
    match step {
        Step::Write { node } => {
            let node = of(nodes, node);
            (node.other, node.touched) = (Some(NEW.to_owned()), true);
        }
        Step::Try { node } => {
            let node = of(nodes, node);
            (node.trying, node.touched) = (true, true);
            node.health = Health::Pending("it restarts".to_owned());
        }
        Step::Bless { node } => of(nodes, node).blessed = Some(NEW.to_owned()),
        Step::Wait { node, .. } => {
            let fate = fate(node);
            let node = of(nodes, node);
            if node.trying {
                node.trying = false;
                if fate == Fate::GoesBack {
                    node.went_back_from = Some(NEW.to_owned());
                    node.health = Health::Healthy;
                } else {
                    (node.running, node.other) = (Some(NEW.to_owned()), node.running.take());
                    node.health = Health::Pending("it joins".to_owned());
                }
            } else {
                node.health = match fate {
                    Fate::Sick if node.running.as_deref() == Some(NEW) => Health::Failed("no quorum".to_owned()),
                    _ => Health::Healthy,
                };
            }
        }
        Step::Ask { .. } | Step::Stop { .. } | Step::Done => {}
    }
}

/// Every step until it ends; holds what must always hold.
fn run(nodes: &mut Vec<NodeImage>, policy: &Policy, fate: &dyn Fn(&Name) -> Fate) -> Vec<Step> {
    let voters = nodes.iter().filter(|node| node.voter).count();
    let majority = voters / 2 + 1;
    let mut steps = Vec::new();
    for _ in 0..nodes.len() * 8 + 8 {
        let step = next(nodes, NEW, policy);
        if let Step::Try { node } = &step {
            let taken = of(nodes, node).clone();
            let left = nodes.iter().filter(|n| n.voter && n.name != *node && n.health == Health::Healthy).count();
            assert!(!taken.voter || left >= majority || (policy.without_majority && voters <= 2), "{nodes:?}");
            assert!(nodes.iter().all(|node| !node.trying), "two at once");
            assert!(nodes.iter().all(|n| n.running.as_deref() != Some(NEW) || n.health == Health::Healthy));
        }
        carry_out(nodes, &step, fate);
        let ended = matches!(step, Step::Ask { .. } | Step::Stop { .. } | Step::Done);
        steps.push(step);
        if ended {
            assert!(voters < 3 || healthy_voters(nodes) >= majority || policy.without_majority);
            return steps;
        }
    }
    panic!("it does not end: {steps:?}");
}

#[test]
fn others_come_first_then_voters_then_the_leader() {
    let mut nodes = cluster(3, 1);
    let steps = run(&mut nodes, &Policy::default(), &|_| Fate::Well);
    let order: Vec<&str> = steps
        .iter()
        .filter_map(|step| if let Step::Try { node } = step { Some(node.as_str()) } else { None })
        .collect();
    assert_eq!(order, ["node-4", "node-2", "node-3", "node-1"]);
    assert_eq!(steps.last(), Some(&Step::Done));
}

#[test]
fn the_only_voter_is_asked_about_once_the_image_lies_there() {
    let mut nodes = cluster(1, 0);
    let steps = run(&mut nodes, &Policy::default(), &|_| Fate::Well);
    assert!(matches!(steps.as_slice(), [Step::Write { .. }, Step::Ask { why, .. }] if why.contains("the only voter")));
    assert_eq!(run(&mut nodes, &ALLOWED, &|_| Fate::Well).last(), Some(&Step::Done));
}

#[test]
fn of_two_voters_none_is_taken_without_an_agreement_or_while_the_other_one_is_away() {
    let mut nodes = cluster(2, 0);
    assert!(matches!(run(&mut nodes, &Policy::default(), &|_| Fate::Well).last(), Some(Step::Ask { .. })));
    nodes[0].health = Health::Failed("away".to_owned());
    nodes[1].other = Some(NEW.to_owned());
    assert!(matches!(next(&nodes, NEW, &ALLOWED), Step::Wait { .. }));
}

#[test]
fn a_voter_waits_for_the_others() {
    let mut nodes = cluster(3, 0);
    nodes[0].health = Health::Failed("its last report is 20 s old".to_owned());
    for node in &mut nodes {
        node.other = Some(NEW.to_owned());
    }
    let Step::Wait { why, .. } = next(&nodes, NEW, &ALLOWED) else { panic!("a voter is taken") };
    assert_eq!(
        why,
        "node-1 is not ready (its last report is 20 s old), and of 3 voters 2 must be while node-2 restarts"
    );
}

#[test]
fn the_first_failure_ends_it_with_the_reason() {
    for (fate, word) in [(Fate::GoesBack, "went back"), (Fate::Sick, "no quorum")] {
        let mut nodes = cluster(3, 2);
        let steps = run(&mut nodes, &ALLOWED, &|_| fate);
        let Some(Step::Stop { why, .. }) = steps.last() else { panic!("{steps:?}") };
        assert!(why.contains(word), "{why}");
        assert_eq!(steps.iter().filter(|step| matches!(step, Step::Try { .. })).count(), 1);
    }
}

fn any_health() -> impl Strategy<Value = Health> {
    prop_oneof![
        4 => Just(Health::Healthy),
        1 => Just(Health::Pending("starting".to_owned())),
        1 => Just(Health::Failed("away".to_owned())),
    ]
}

fn any_image() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof![Just(OLD.to_owned()), Just(NEW.to_owned())])
}

/// Nodes in any state, as a crash of whoever carries steps out may leave them.
fn any_cluster() -> impl Strategy<Value = Vec<NodeImage>> {
    let voters = prop_oneof![Just(1_usize), Just(3), Just(5)];
    (voters, 0..4_usize).prop_flat_map(|(voters, others)| {
        let count = voters + others;
        let parts = (any_health(), any_image(), any_image(), any_image(), 0..8_u8);
        prop::collection::vec(parts, count).prop_map(move |parts| {
            let mut nodes = cluster(voters, others);
            for (node, (health, running, blessed, other, trying)) in nodes.iter_mut().zip(parts) {
                (node.health, node.running, node.blessed, node.other) = (health, running, blessed, other);
                let came_back = node.running.as_deref() == Some(NEW);
                node.trying = trying == 0 && !came_back;
            }
            nodes
        })
    })
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![6 => Just(Fate::Well), 1 => Just(Fate::GoesBack), 1 => Just(Fate::Sick)]
}

proptest! {
    #[test]
    fn from_any_state_it_ends_and_keeps_the_rules(
        mut nodes in any_cluster(),
        fates in prop::collection::vec(any_fate(), 9),
        without_majority: bool,
    ) {
        let number = |name: &Name| name.as_str()[5..].parse::<usize>().unwrap_or(0);
        let voters = nodes.iter().filter(|node| node.voter).count();
        let policy = Policy { without_majority };
        let mut held = 0;
        for _ in 0..nodes.len() * 8 + 8 {
            let step = next(&nodes, NEW, &policy);
            prop_assert_eq!(&step, &next(&nodes, NEW, &policy));
            if let Step::Try { node } = &step {
                let left = nodes.iter().filter(|n| n.voter && n.name != *node && n.health == Health::Healthy).count();
                let taken = nodes.iter().find(|n| n.name == *node).unwrap();
                prop_assert!(!taken.voter || left > voters / 2 || (voters == 1 && without_majority));
                prop_assert!(nodes.iter().all(|node| !node.trying));
                prop_assert!(nodes.iter().all(|n| n.went_back_from.as_deref() != Some(NEW)));
            }
            if let Step::Bless { node } = &step {
                let blessed = nodes.iter().find(|n| n.name == *node).unwrap();
                prop_assert!(blessed.health == Health::Healthy && blessed.running.as_deref() == Some(NEW));
            }
            carry_out(&mut nodes, &step, &|name| fates[number(name) - 1]);
            match step {
                Step::Done => {
                    prop_assert!(nodes.iter().all(|n| n.running.as_deref() == Some(NEW)));
                    prop_assert!(nodes.iter().all(|n| n.blessed.as_deref() == Some(NEW)));
                    held = 1;
                }
                Step::Stop { .. } | Step::Ask { .. } => held = 1,
                _ => {}
            }
            if held == 1 { break }
        }
        prop_assert_eq!(held, 1, "it does not end");
    }

    #[test]
    fn an_up_to_date_cluster_needs_nothing(voters in prop_oneof![Just(1_usize), Just(3), Just(5)], others in 0..4_usize) {
        let mut nodes = cluster(voters, others);
        for node in &mut nodes {
            (node.running, node.blessed) = (Some(NEW.to_owned()), Some(NEW.to_owned()));
        }
        prop_assert_eq!(next(&nodes, NEW, &Policy::default()), Step::Done);
        let mut nodes = cluster(voters, others);
        let steps = run(&mut nodes, &ALLOWED, &|_| Fate::Well);
        prop_assert_eq!(steps.last(), Some(&Step::Done));
        prop_assert_eq!(next(&nodes, NEW, &ALLOWED), Step::Done);
    }
}
