//! A cluster to try the rules on.

use std::net::Ipv4Addr;

use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_model::code::VerificationCode;
use meadow_model::event::{Event, Severity};
use meadow_model::hardware::{Disk, Hardware, Nic};
use meadow_model::machine::Machine;
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::Node;
use meadow_model::{Fingerprint, MacAddress, Name, Problem, ProblemCode, Secret, Timestamp};
use meadow_state::command::{Bootstrap, ClaimRecord, Command, Credential, FirstNode, MachineRef, Proposal};
use meadow_state::{Applied, Outcome, Standing, State};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

pub(crate) fn mac(last: u8) -> MacAddress {
    MacAddress([0x52, 0x54, 0, 0, 0, last])
}

pub(crate) fn by_mac(last: u8) -> MachineRef {
    MachineRef::Mac(mac(last))
}

pub(crate) fn key(number: u8) -> Fingerprint {
    Fingerprint([number; 32])
}

pub(crate) fn start() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

/// A state with a clock.
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    index: u64,
}

impl Cluster {
    /// A cluster with its first node, `seed`, whose key is 1.
    pub(crate) fn new() -> Self {
        let mut cluster = Self::empty();
        cluster.ok(bootstrap(100));
        cluster
    }

    pub(crate) fn empty() -> Self {
        Self { state: State::default(), now: start(), index: 1 }
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now = self.now.plus_seconds(seconds);
    }

    pub(crate) fn propose(&mut self, proposal: &Proposal) -> Result<Applied, Problem> {
        self.index += 1;
        self.state.apply(self.index, proposal).and_then(Applied::into_result)
    }

    pub(crate) fn apply(&mut self, command: Command) -> Result<Applied, Problem> {
        let proposal = Proposal { at: self.now, actor: "user ann".to_owned(), idempotency_key: None, command };
        self.propose(&proposal)
    }

    pub(crate) fn ok(&mut self, command: Command) -> Applied {
        self.apply(command).expect("accepted")
    }

    /// The code of the refusal of `command`.
    pub(crate) fn refused(&mut self, command: Command) -> ProblemCode {
        self.apply(command).expect_err("refused").code
    }

    /// A claim, and where it stands afterwards.
    pub(crate) fn claim(&mut self, claim: &ClaimRecord) -> Result<(Name, Standing), ProblemCode> {
        match self.apply(Command::Claim(Box::new(claim.clone()))) {
            Ok(Applied { outcome: Outcome::Claimed { machine, standing }, .. }) => Ok((machine, standing)),
            Ok(other) => panic!("a claim came out as {other:?}"),
            Err(problem) => Err(problem.code),
        }
    }

    /// The machine's name and why it waits.
    pub(crate) fn pending(&mut self, claim: &ClaimRecord) -> (Name, String) {
        match self.claim(claim) {
            Ok((machine, Standing::Pending { reason })) => (machine, reason),
            other => panic!("not pending but {other:?}"),
        }
    }

    /// The machine's name and the node that it became.
    pub(crate) fn admitted(&mut self, claim: &ClaimRecord) -> (Name, Name) {
        match self.claim(claim) {
            Ok((machine, Standing::Approved { node })) => (machine, node),
            other => panic!("not approved but {other:?}"),
        }
    }

    pub(crate) fn machine(&self, text: &str) -> &Machine {
        self.state.machines().get(&name(text)).expect("the machine is there")
    }

    pub(crate) fn node(&self, text: &str) -> &Node {
        self.state.nodes().get(&name(text)).expect("the node is there")
    }

    pub(crate) fn warnings(&self, code: &str) -> Vec<&Event> {
        self.state.events().values().filter(|e| e.severity == Severity::Warning && e.code == code).collect()
    }

    /// How many events of this code there are.
    pub(crate) fn events(&self, code: &str) -> usize {
        self.state.events().values().filter(|e| e.code == code).count()
    }
}

pub(crate) fn bootstrap(ca: u8) -> Command {
    Command::Bootstrap(Box::new(Bootstrap {
        cluster: name("home"),
        ca_fingerprint: key(ca),
        authorized_keys: vec!["ssh-ed25519 AAAA ann".to_owned()],
        release_key: String::new(),
        node: FirstNode {
            name: name("seed"),
            fingerprint: key(1),
            wireguard: WireGuardKey([1; 32]),
            endpoint: None,
            hardware: Some(hardware(1)),
            measures: None,
        },
        pxe_open_until: None,
    }))
}

/// A computer with one card, one disk and a UUID of its own.
pub(crate) fn hardware(number: u8) -> Hardware {
    let nic = Nic { name: "eth0".to_owned(), mac: mac(number), driver: None, speed_mbit: None, carrier: true };
    let disk = Disk { name: "vda".to_owned(), serial: Some(format!("disk-{number}")), ..Disk::default() };
    let uuid = Some(format!("11111111-2222-3333-4444-5555555555{number:02x}"));
    Hardware { uuid, disks: vec![disk], nics: vec![nic], ..Hardware::default() }
}

/// The claim of computer `number` with a key of its own: RAM only, no credential, no wish.
pub(crate) fn claim(number: u8) -> ClaimRecord {
    claim_with_key(number, number)
}

/// The claim of computer `number` with the key `key_number`.
pub(crate) fn claim_with_key(number: u8, key_number: u8) -> ClaimRecord {
    ClaimRecord {
        fingerprint: key(key_number),
        code: VerificationCode::compute(&key(1), &key(key_number), &[0; 32], &[key_number; 32]),
        credential: Credential::None,
        address: Ipv4Addr::new(192, 0, 2, number).into(),
        wireguard: WireGuardKey([key_number; 32]),
        mac: Some(mac(number)),
        hardware: hardware(number),
        measures: None,
        ephemeral: true,
        wanted_name: None,
        lost: None,
    }
}

pub(crate) fn with_ticket(claim: ClaimRecord, ticket: u8) -> ClaimRecord {
    ClaimRecord { credential: Credential::Ticket([ticket; 32]), ..claim }
}

pub(crate) fn with_token(claim: ClaimRecord, id: &str) -> ClaimRecord {
    ClaimRecord { credential: Credential::Token(name(id)), ..claim }
}

pub(crate) fn durable(claim: ClaimRecord) -> ClaimRecord {
    ClaimRecord { ephemeral: false, ..claim }
}

pub(crate) fn see(last: u8) -> Command {
    Command::SeeMachine { mac: mac(last), arch: "x64 UEFI".to_owned(), architecture: None }
}

pub(crate) fn set_boot(machine: MachineRef, boot: BootPolicy) -> Command {
    Command::SetBoot { machine, boot, plain_pxe: false, options: BootOptions::default(), if_match: None }
}

/// Arms a machine for ten minutes.
pub(crate) fn arm(machine: MachineRef, ticket: u8) -> Command {
    let expires = start().plus_seconds(600);
    Command::Arm { machine, ticket_hash: [ticket; 32], expires, node: None, replaces: None, if_match: None }
}

pub(crate) fn approve(machine: &Name) -> Command {
    Command::Approve { machine: machine.clone(), node: None, replaces: None, if_match: None }
}

pub(crate) fn approve_as(machine: &Name, node: &str) -> Command {
    Command::Approve { machine: machine.clone(), node: Some(name(node)), replaces: None, if_match: None }
}

pub(crate) fn approve_replacing(machine: &Name, node: &str) -> Command {
    Command::Approve { machine: machine.clone(), node: None, replaces: Some(name(node)), if_match: None }
}

pub(crate) fn reject(machine: &Name) -> Command {
    Command::Reject { machine: machine.clone(), if_match: None }
}

pub(crate) fn remove(node: &str) -> Command {
    Command::RemoveNode { node: name(node), if_match: None }
}

/// A token for ten minutes.
pub(crate) fn create_token(id: &str, uses: u32) -> Command {
    Command::CreateToken { id: name(id), key: Secret::new([5; 32]), expires: start().plus_seconds(600), uses }
}
