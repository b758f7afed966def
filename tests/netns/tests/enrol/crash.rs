//! `kill -9` at any moment of an enrolment, on either side: it goes on by itself, and nothing is there twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use meadow_tests_netns::{Computer, Site};

use crate::support::{node_names, text, token};

/// Kills on each side before the enrolment is left in peace.
const KILLS: u32 = 4;

#[test]
fn an_enrolment_survives_kills_of_the_newcomer() {
    enrol_under_kills(0x6d65_6164_6f77_0001, |_, desk| desk);
}

#[test]
fn an_enrolment_survives_kills_of_the_seed() {
    enrol_under_kills(0x6d65_6164_6f77_0002, |seed, _| seed);
}

fn enrol_under_kills(seed_of_moments: u64, victim: for<'a> fn(&'a mut Computer, &'a mut Computer) -> &'a mut Computer) {
    let mut site = Site::build().expect("namespaces");
    let mut seed = site.seed().expect("a seed");
    let mut desk = site.computer("desk", 3).expect("a computer");
    let (name, file) = token(&seed, "token", &[]);
    desk.start_agent(&mut site).expect("started");
    let left = desk.join(&seed.address().to_string(), &file, &["--no-wait"]).expect("run");
    left.success().expect("left");
    let mut moments = Moments(seed_of_moments);
    // The first kills may fall anywhere in the measures, the later ones around the claim.
    for number in 0..KILLS {
        let moment = moments.next();
        wait_until(Instant::now() + moment, &desk);
        println!("kill {number} after {moment:?}");
        let victim = victim(&mut seed, &mut desk);
        victim.kill_agent().expect("killed");
        victim.start_agent(&mut site).expect("started");
    }
    seed.wait_for_node("desk").expect("ready");
    desk.until("the end of the wish", |desk| Ok((!desk.state_file("join.json").exists()).then_some(())))
        .expect("ended");
    let result = std::fs::read_to_string(desk.state_file("join-result.json")).expect("a result");
    assert!(result.contains("joined"), "{result}");
    assert_eq!(node_names(&seed), ["desk", "seed"]);
    let nodes = seed.items(&["node", "ls"]).expect("nodes");
    for field in ["/spec/fingerprint", "/spec/wireguard", "/spec/address"] {
        let values: BTreeSet<&str> = nodes.iter().map(|node| text(node, field)).collect();
        assert_eq!(values.len(), 2, "{field}: {nodes:?}");
    }
    let ids: Vec<u64> = nodes.iter().filter_map(|node| node["spec"]["id"].as_u64()).collect();
    assert_eq!(ids, [2, 1], "desk is the second node, and only one was made");
    let token = seed.json(&["token", "show", &name]).expect("the token was acknowledged");
    assert_eq!(token["status"]["used"], 1);
    assert_eq!(seed.items(&["machine", "ls"]).expect("machines").len(), 1);
}

#[test]
fn a_node_that_was_killed_before_it_could_say_so_says_so_at_its_next_start() {
    let mut site = Site::build().expect("namespaces");
    let seed = site.seed().expect("a seed");
    let mut desk = site.computer("desk", 3).expect("a computer");
    let (_, file) = token(&seed, "token", &[]);
    desk.join(&seed.address().to_string(), &file, &["--no-wait"]).expect("run").success().expect("left");
    let wish = std::fs::read(desk.state_file("join.json")).expect("a wish");
    desk.start_agent(&mut site).expect("started");
    desk.until("the end of the wish", |desk| Ok(desk.state_file("join-result.json").exists().then_some(())))
        .expect("joined");
    desk.kill_agent().expect("killed");
    // As it was between the two writes.
    std::fs::write(desk.state_file("join.json"), wish).expect("written");
    std::fs::remove_file(desk.state_file("join-result.json")).expect("removed");
    desk.start_agent(&mut site).expect("started");
    desk.until("the end of the wish", |desk| Ok(desk.state_file("join-result.json").exists().then_some(())))
        .expect("joined");
    desk.until("no wish", |desk| Ok((!desk.state_file("join.json").exists()).then_some(()))).expect("taken away");
    assert_eq!(node_names(&seed), ["desk", "seed"]);
}

/// Lets the two work until `moment`, or until the wish is fulfilled.
fn wait_until(moment: Instant, newcomer: &Computer) {
    while Instant::now() < moment && newcomer.state_file("join.json").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Random moments, the same in every run of one number (xorshift64, Marsaglia 2003).
struct Moments(u64);

impl Moments {
    /// Up to 2.5 s; the measures of a newcomer take about 5 s.
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % 2500)
    }
}
