//! A rollout over nodes that are played, with the real state machine: what is given to whom, and how it ends.

use meadow_controllers::rollout::{Action, View};
use meadow_model::action::{BLESS_IMAGE, TRY_IMAGE, WRITE_IMAGE};
use meadow_model::code::VerificationCode;
use meadow_model::hardware::Hardware;
use meadow_model::image::{ImageSpec, SlotImage, TRIAL_SECONDS};
use meadow_model::install::{BootSlot, InstallMode, InstalledDisk};
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::{Node, NodeStatus};
use meadow_model::work::NodeTask;
use meadow_model::{Fingerprint, Kind, MacAddress, Name, Timestamp};
use meadow_state::command::{Bootstrap, ClaimRecord, Command, Credential, FirstNode, OperationEnd, Proposal};
use meadow_state::{Applied, Outcome, State};

fn name(text: &str) -> Name {
    Name::new(text).expect("valid")
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

/// A cluster of a seed and two installed nodes.
struct Played {
    state: State,
    index: u64,
    /// Nodes that do not report.
    away: Vec<Name>,
    /// Nodes that last reported so many milliseconds ago.
    gone: Vec<(Name, u64)>,
}

impl Played {
    fn new() -> Self {
        let mut played = Self { state: State::default(), index: 0, away: Vec::new(), gone: Vec::new() };
        let node = FirstNode {
            name: name("seed"),
            fingerprint: Fingerprint([1; 32]),
            wireguard: WireGuardKey([1; 32]),
            endpoint: None,
            hardware: None,
            measures: None,
        };
        played.apply(Command::Bootstrap(Box::new(Bootstrap {
            cluster: name("home"),
            ca_fingerprint: Fingerprint([7; 32]),
            authorized_keys: Vec::new(),
            release_key: String::new(),
            node,
            pxe_open_until: None,
        })));
        for number in [2, 3] {
            played.enrol(number);
            played.set_disk(number, disk(BootSlot::A, BootSlot::A, [Some("old"), None]));
        }
        let spec = ImageSpec {
            version: "0.2.0-new".to_owned(),
            kernel: "6.12".to_owned(),
            architecture: "x86_64".to_owned(),
            date: now(),
            digest: "new".to_owned(),
            size_bytes: 1,
            release_signature: "signed".to_owned(),
        };
        played.apply(Command::AdoptImage { name: name("new"), spec: Box::new(spec) });
        played
    }

    fn apply(&mut self, command: Command) -> Applied {
        self.index += 1;
        let proposal = Proposal { at: now(), actor: "test".to_owned(), idempotency_key: None, command };
        self.state.apply(self.index, &proposal).expect("accepted")
    }

    fn enrol(&mut self, number: u8) {
        let key = Fingerprint([number; 32]);
        let claim = ClaimRecord {
            fingerprint: key,
            code: VerificationCode::compute(&Fingerprint([7; 32]), &key, &[1; 32], &[2; 32]),
            credential: Credential::None,
            address: "192.0.2.9".parse().expect("an address"),
            wireguard: WireGuardKey([number; 32]),
            mac: Some(MacAddress([0x52, 0x54, 0, 0, 0, number])),
            hardware: Hardware::default(),
            measures: None,
            ephemeral: true,
            wanted_name: None,
            lost: None,
        };
        let Outcome::Claimed { machine, .. } = self.apply(Command::Claim(Box::new(claim))).outcome else {
            panic!("a claim")
        };
        let node = Some(name(&format!("node-{number}")));
        self.apply(Command::Approve { machine, node, replaces: None, if_match: None });
    }

    fn set_disk(&mut self, number: u8, disk: InstalledDisk) {
        let node = name(&format!("node-{number}"));
        self.apply(Command::SetNodeDisk { node, installed: Some(Box::new(disk)), durable: true });
    }

    fn roll_out(&mut self, digest: &str) {
        self.roll_out_if(digest, true);
    }

    fn roll_out_if(&mut self, digest: &str, allow_older: bool) {
        let command = Command::StartRollout { digest: digest.to_owned(), allow_older, without_majority: false };
        self.apply(command);
    }

    fn next(&self) -> Action {
        let status = |node: &Node| {
            let gone = self.gone.iter().find(|(name, _)| *name == node.metadata.name).map_or(0, |(_, ago)| *ago);
            let last = Timestamp::from_millis(now().as_millis() - i64::try_from(gone).expect("small"));
            let last = (!self.away.contains(&node.metadata.name)).then_some(last);
            NodeStatus { last_report: last, last_handshake: last, ..node.status.clone() }.judged(now())
        };
        let nodes: Vec<_> = self.state.nodes().values().map(|node| (node.clone(), status(node))).collect();
        let rollout = self.state.rollout().expect("one runs");
        View { state: &self.state, nodes: &nodes, leader: &name("seed"), rollout, port: 7480, now: now() }.next()
    }

    /// What is given next, to whom; it is begun and then ends so.
    fn given(&mut self, end: OperationEnd) -> (String, &'static str, NodeTask) {
        let Action::Give { node, task } = self.next() else { panic!("{:?}", self.next()) };
        let (action, step) = (task.action(), "begins".to_owned());
        let start = Command::StartOperation { action: action.to_owned(), kind: Kind::Node, target: node.clone(), step };
        let Outcome::Operation { name: operation } = self.apply(start).outcome else { panic!("an operation") };
        assert!(matches!(self.next(), Action::Tell(_)), "one step at a time");
        let lost = matches!(&end, OperationEnd::Failed { why } if why == "lost");
        let step = if lost { "lost" } else { "ended" }.to_owned();
        self.apply(Command::NoteOperation { operation, step, end: Some(end) });
        (node.to_string(), action, task)
    }

    fn done(&mut self) -> (String, &'static str, NodeTask) {
        self.given(OperationEnd::Succeeded)
    }
}

fn disk(running: BootSlot, blessed: BootSlot, images: [Option<&str>; 2]) -> InstalledDisk {
    let slots = [BootSlot::A, BootSlot::B].into_iter().zip(images);
    InstalledDisk {
        serial: "S".to_owned(),
        disk: "vda".to_owned(),
        mode: InstallMode::System,
        luks_uuid: "u".to_owned(),
        host_key: "SHA256:x".to_owned(),
        host_key_sealed: false,
        keys: Vec::new(),
        running: Some(running),
        blessed: Some(blessed),
        slots: slots.filter_map(|(slot, d)| Some(SlotImage { slot, digest: Some(d?.to_owned()) })).collect(),
        tried: None,
        went_back_from: None,
        ssh_keys: None,
    }
}

const BOTH: [Option<&str>; 2] = [Some("old"), Some("new")];

#[test]
fn one_node_after_the_other_is_written_tried_and_blessed() {
    let mut played = Played::new();
    played.roll_out("new");
    for number in [2, 3] {
        let node = format!("node-{number}");
        let (who, action, task) = played.done();
        assert_eq!((who, action), (node.clone(), WRITE_IMAGE));
        let NodeTask::WriteImage(task) = task else { panic!("{task:?}") };
        assert_eq!((task.digest.as_str(), task.release_signature.as_str()), ("new", "signed"));
        // The second one may fetch from the first, which has the image by then; the seed comes last.
        assert_eq!(task.sources.len(), usize::from(number) - 1, "{task:?}");
        played.set_disk(number, disk(BootSlot::A, BootSlot::A, BOTH));

        let (who, action, task) = played.done();
        assert_eq!((who, action), (node.clone(), TRY_IMAGE));
        assert_eq!(task, NodeTask::TryImage { digest: "new".to_owned(), allow_older: true });
        played.set_disk(number, InstalledDisk { tried: Some(BootSlot::B), ..disk(BootSlot::A, BootSlot::A, BOTH) });
        played.away = vec![name(&node)];
        let Action::Tell(why) = played.next() else { panic!("{:?}", played.next()) };
        assert!(why.contains("meadow unlock"), "{why}");

        played.away.clear();
        played.set_disk(number, disk(BootSlot::B, BootSlot::A, BOTH));
        assert_eq!(played.done(), (node, BLESS_IMAGE, NodeTask::BlessImage));
        played.set_disk(number, disk(BootSlot::B, BootSlot::B, BOTH));
    }
    assert_eq!(played.next(), Action::End(OperationEnd::Succeeded));
}

#[test]
fn the_only_voter_is_taken_only_where_somebody_agreed_to_it() {
    for without_majority in [false, true] {
        let mut played = Played::new();
        [2, 3].into_iter().for_each(|number| played.set_disk(number, disk(BootSlot::B, BootSlot::B, BOTH)));
        let installed = Some(Box::new(disk(BootSlot::A, BootSlot::A, BOTH)));
        played.apply(Command::SetNodeDisk { node: name("seed"), installed, durable: true });
        played.apply(Command::StartRollout { digest: "new".to_owned(), allow_older: false, without_majority });
        match played.next() {
            Action::Give { node, task: NodeTask::TryImage { .. } } => assert!(without_majority && node == name("seed")),
            Action::End(OperationEnd::Failed { why }) => {
                assert!(!without_majority && why.ends_with("; then say --without-majority"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_node_that_goes_back_ends_it_and_the_others_stay_as_they_are() {
    let mut played = Played::new();
    played.roll_out("new");
    played.done();
    played.set_disk(2, disk(BootSlot::A, BootSlot::A, BOTH));
    played.done();
    let gave_up = InstalledDisk { went_back_from: Some(BootSlot::B), ..disk(BootSlot::A, BootSlot::A, BOTH) };
    played.set_disk(2, gave_up);
    let Action::End(OperationEnd::Failed { why }) = played.next() else { panic!("{:?}", played.next()) };
    assert!(why.contains("node-2") && why.contains("went back"), "{why}");
    // Somebody who tries the very image once more, says so by a rollout of its own.
    played.roll_out("new");
    assert_eq!(played.done().1, TRY_IMAGE);
}

#[test]
fn a_node_that_dies_after_it_came_up_with_the_image_ends_it() {
    let mut played = Played::new();
    played.roll_out("new");
    played.done();
    played.set_disk(2, disk(BootSlot::A, BootSlot::A, BOTH));
    assert_eq!(played.done().1, TRY_IMAGE);
    played.set_disk(2, disk(BootSlot::B, BootSlot::A, BOTH));
    played.away = vec![name("node-2")];
    assert!(matches!(played.next(), Action::Tell(_)), "it may come back");
    let patience = TRIAL_SECONDS * 1000;
    (played.away, played.gone) = (Vec::new(), vec![(name("node-2"), patience)]);
    assert!(matches!(played.next(), Action::Tell(_)), "somebody may open its state still");
    played.gone = vec![(name("node-2"), patience + 1)];
    let Action::End(OperationEnd::Failed { why }) = played.next() else { panic!("{:?}", played.next()) };
    assert!(why.contains("node-2") && why.contains("health check failed"), "{why}");
}

#[test]
fn a_node_that_had_the_image_before_and_is_off_keeps_nobody_waiting() {
    let mut played = Played::new();
    played.set_disk(2, disk(BootSlot::B, BootSlot::B, BOTH));
    played.gone = vec![(name("node-2"), 2 * TRIAL_SECONDS * 1000)];
    played.roll_out("new");
    let (who, action, _) = played.done();
    assert_eq!((who.as_str(), action), ("node-3", WRITE_IMAGE));
}

#[test]
fn work_that_fails_ends_it_and_work_that_a_voter_lost_is_given_again() {
    let mut played = Played::new();
    played.roll_out("new");
    assert_eq!(played.given(OperationEnd::Failed { why: "lost".to_owned() }).1, WRITE_IMAGE);
    assert_eq!(played.given(OperationEnd::Failed { why: "the disk is full".to_owned() }).1, WRITE_IMAGE);
    let Action::End(OperationEnd::Failed { why }) = played.next() else { panic!("{:?}", played.next()) };
    assert!(why.contains("node-2") && why.contains("the disk is full"), "{why}");
}

#[test]
fn an_image_of_the_other_slots_needs_no_store() {
    let mut played = Played::new();
    for number in [2, 3] {
        played.set_disk(number, disk(BootSlot::B, BootSlot::B, BOTH));
    }
    played.roll_out("old");
    assert_eq!(played.done().1, TRY_IMAGE);
    played.set_disk(2, disk(BootSlot::A, BootSlot::A, BOTH));
    played.set_disk(3, disk(BootSlot::B, BootSlot::B, [None, Some("new")]));
    let Action::End(OperationEnd::Failed { why }) = played.next() else { panic!("{:?}", played.next()) };
    assert!(why.contains("meadow image add"), "{why}");
}

#[test]
fn a_node_hears_whether_somebody_agreed_to_an_older_image() {
    for agreed in [false, true] {
        let mut played = Played::new();
        played.roll_out_if("new", agreed);
        let NodeTask::WriteImage(task) = played.done().2 else { panic!("nothing is written") };
        assert_eq!(task.allow_older, agreed);
        played.set_disk(2, disk(BootSlot::A, BootSlot::A, BOTH));
        assert_eq!(played.done().2, NodeTask::TryImage { digest: "new".to_owned(), allow_older: agreed });
    }
}
