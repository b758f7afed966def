//! A backend over the real state machine, in memory.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use meadow_api::wire::{CapturePart, Health};
use meadow_api::{Answer, Arm, Author, Backend};
use meadow_model::boot::{
    BootEvent, LeaseState, MachineBoot, PxeCheck, PxeCounters, PxeInterface, PxeLease, PxeStatus,
};
use meadow_model::code::VerificationCode;
use meadow_model::console::{PowerOff, SelfState, SelfView};
use meadow_model::enrolment::{Claim, ClaimReply, Hello, HelloReply};
use meadow_model::fingerprint::PublicKey;
use meadow_model::hardware::Hardware;
use meadow_model::image::{ImageSpec, IncomingArtifact, IncomingImage, OfferedImage};
use meadow_model::install::Sealed;
use meadow_model::mesh::WireGuardKey;
use meadow_model::network::{NetworkChange, NetworkView, resolve};
use meadow_model::node::{Node, NodeReport, NodeStatus};
use meadow_model::token::NewToken;
use meadow_model::work::{NodeWork, ReportReply};
use meadow_model::{Fingerprint, MacAddress, Name, Problem, ProblemCode, Secret, Timestamp};
use meadow_state::command::{Bootstrap, ClaimRecord, Command, Credential, FirstNode, Proposal};
use meadow_state::{Applied, Outcome, State};

/// The agent, without its sockets and its disk.
pub(crate) struct Memory {
    state: Mutex<Arc<State>>,
    health: Mutex<Health>,
    pub(crate) work: Mutex<Vec<NodeWork>>,
    pub(crate) answers: Mutex<Vec<(Name, Sealed)>>,
    /// Whether the nodes report over the mesh.
    reporting: AtomicBool,
    /// Last numbers of the addresses whose lease was ended.
    released: Mutex<Vec<u8>>,
}

/// The clock stands still.
pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

/// The identity of the first node.
pub(crate) fn seed_key() -> PublicKey {
    PublicKey::from_der([8])
}

impl Memory {
    /// A cluster named `home` with its first node `seed`.
    pub(crate) fn with_cluster() -> Arc<Self> {
        let health = Health { ok: true, why: Vec::new(), version: "test".to_owned() };
        let memory = Self {
            state: Mutex::default(),
            health: Mutex::new(health),
            work: Mutex::default(),
            answers: Mutex::default(),
            reporting: AtomicBool::new(false),
            released: Mutex::default(),
        };
        memory.apply(Command::Bootstrap(Box::new(Bootstrap {
            cluster: name("home"),
            ca_fingerprint: Fingerprint([7; 32]),
            authorized_keys: Vec::new(),
            release_key: String::new(),
            node: FirstNode {
                name: name("seed"),
                fingerprint: seed_key().fingerprint(),
                wireguard: WireGuardKey([8; 32]),
                endpoint: None,
                hardware: None,
                measures: None,
            },
            pxe_open_until: None,
        })));
        Arc::new(memory)
    }

    /// A cluster with the node `attic` of this hardware; all nodes report.
    pub(crate) fn with_node(hardware: Hardware) -> Arc<Self> {
        let (memory, machine) = Self::with_machine(hardware);
        memory.reporting.store(true, Ordering::Relaxed);
        memory.apply(Command::Approve { machine, node: Some(name("attic")), replaces: None, if_match: None });
        memory
    }

    /// A cluster with a machine that waits for a person.
    pub(crate) fn with_pending_machine() -> (Arc<Self>, Name) {
        Self::with_machine(Hardware::default())
    }

    fn with_machine(hardware: Hardware) -> (Arc<Self>, Name) {
        let memory = Self::with_cluster();
        let applied = memory.apply(Command::Claim(Box::new(ClaimRecord {
            fingerprint: Fingerprint([9; 32]),
            code: VerificationCode::compute(&Fingerprint([7; 32]), &Fingerprint([9; 32]), &[1; 32], &[2; 32]),
            credential: Credential::None,
            address: "192.0.2.9".parse().expect("an address"),
            wireguard: WireGuardKey([9; 32]),
            mac: Some(MacAddress([0x52, 0x54, 0, 0, 0, 9])),
            hardware,
            measures: None,
            ephemeral: true,
            wanted_name: None,
            lost: None,
        })));
        let Outcome::Claimed { machine, .. } = applied.outcome else { panic!("a claim") };
        (memory, machine)
    }

    pub(crate) fn apply(&self, command: Command) -> Applied {
        self.propose_now(&Proposal { at: self.now(), actor: "test".to_owned(), idempotency_key: None, command })
            .expect("accepted")
    }

    fn propose_now(&self, proposal: &Proposal) -> Result<Applied, Problem> {
        let mut state = self.state.lock().expect("not poisoned");
        let index = state.revision() + 1;
        Arc::make_mut(&mut state).apply(index, proposal)
    }

    fn author(&self, author: Author, command: Command) -> Result<Applied, Problem> {
        let Author { actor, idempotency_key } = author;
        self.propose_now(&Proposal { at: self.now(), actor, idempotency_key, command })
    }

    pub(crate) fn set_ill(&self, why: &str) {
        let mut health = self.health.lock().expect("not poisoned");
        health.ok = false;
        health.why.push(why.to_owned());
    }
}

fn ready<'a, T: Send + 'a>(result: Result<T, Problem>) -> Answer<'a, T> {
    Box::pin(std::future::ready(result))
}

fn not_here<'a, T: Send + 'a>(key: Fingerprint) -> Answer<'a, T> {
    ready(Err(Problem::new(ProblemCode::NotFound, format!("{key} has no claim"))))
}

impl Backend for Memory {
    fn state(&self) -> Result<Arc<State>, Problem> {
        Ok(Arc::clone(&self.state.lock().expect("not poisoned")))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    fn propose(&self, proposal: Proposal) -> Answer<'_, Applied> {
        ready(self.propose_now(&proposal))
    }

    fn node_status(&self, node: &Node) -> NodeStatus {
        let now = self.reporting.load(Ordering::Relaxed).then(|| self.now());
        NodeStatus { last_report: now, last_handshake: now, ..node.status.clone() }.judged(self.now())
    }

    fn leader(&self) -> Option<Name> {
        Some(name("seed"))
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn health(&self) -> Health {
        self.health.lock().expect("not poisoned").clone()
    }

    fn create_token(&self, expires: Timestamp, uses: u32, author: Author) -> Answer<'_, NewToken> {
        let (id, key) = (name(&format!("t{}", self.state().map_or(0, |s| s.revision()))), Secret::new([5; 32]));
        let command = Command::CreateToken { id: id.clone(), key, expires, uses };
        ready(self.author(author, command).and_then(|_| {
            let token = self.state()?.tokens().get(&id).cloned();
            let token = token.ok_or_else(|| Problem::new(ProblemCode::Conflict, "a token is shown only once"))?;
            Ok(NewToken { token, text: Secret::new("meadow-join-example".to_owned()) })
        }))
    }

    fn arm(&self, arm: Arm, author: Author) -> Answer<'_, Applied> {
        let Arm { machine, expires, node, replaces, if_match } = arm;
        let command = Command::Arm { machine, ticket_hash: [3; 32], expires, node, replaces, if_match };
        ready(self.author(author, command))
    }

    fn record_report(&self, node: &Name, _: NodeReport, _: SocketAddr) -> Answer<'_, ReportReply> {
        let view = self.state().map(|state| state.mesh_view(node));
        let view = view.and_then(|view| view.ok_or_else(|| Problem::new(ProblemCode::NotFound, "no such node")));
        ready(view.map(|mesh| ReportReply { mesh, work: Vec::new(), waits_for_unlock: Vec::new(), ssh_keys: None }))
    }

    fn give_work(&self, _: &Name, work: NodeWork) -> Result<(), Problem> {
        self.work.lock().expect("not poisoned").push(work);
        Ok(())
    }

    fn operation_answer(&self, operation: &Name) -> Option<Sealed> {
        (operation.as_str() == "op-0000000042").then(|| Sealed("AAAA".to_owned()))
    }

    fn put_operation_answer(&self, _: &Name, operation: &Name, answer: Sealed) -> Result<(), Problem> {
        self.answers.lock().expect("not poisoned").push((operation.clone(), answer));
        Ok(())
    }

    fn offer_image(&self, offered: OfferedImage) -> Answer<'_, IncomingImage> {
        let part = IncomingArtifact { name: "initrd".to_owned(), size: 4, have: 0 };
        ready(Ok(IncomingImage { digest: offered.signature, missing: vec![part] }))
    }

    fn put_image_piece(&self, _: String, _: String, offset: u64, piece: Bytes) -> Answer<'_, u64> {
        ready(Ok(offset + piece.len() as u64))
    }

    fn adopt_image(&self, digest: String, author: Author) -> Answer<'_, Applied> {
        let spec = ImageSpec {
            version: format!("0.1.0-{digest}"),
            kernel: "6.12".to_owned(),
            architecture: "x86_64".to_owned(),
            date: Timestamp::from_millis(NOW),
            digest: digest.clone(),
            size_bytes: 4,
            release_signature: String::new(),
        };
        let command = Command::AdoptImage { name: name(&format!("0-1-0-{digest}")), spec: Box::new(spec) };
        ready(self.author(author, command))
    }

    fn drop_image(&self, _: String) -> Answer<'_, ()> {
        ready(Ok(()))
    }

    fn hello(&self, key: Fingerprint, _: Hello, _: SocketAddr) -> Answer<'_, HelloReply> {
        not_here(key)
    }

    fn claim(&self, key: PublicKey, _: Claim, _: SocketAddr) -> Answer<'_, ClaimReply> {
        not_here(key.fingerprint())
    }

    fn claim_state(&self, key: PublicKey) -> Answer<'_, ClaimReply> {
        not_here(key.fingerprint())
    }

    fn pxe_status(&self) -> PxeStatus {
        let cluster = self.state().ok().and_then(|state| state.cluster().cloned());
        PxeStatus {
            serving: true,
            interfaces: vec![PxeInterface {
                name: "lan0".to_owned(),
                serving: true,
                base_url: Some("http://192.0.2.2:7480/".to_owned()),
                leases: false,
                problems: Vec::new(),
            }],
            open_until: cluster.and_then(|cluster| cluster.spec.pxe_open_until),
            problems: Vec::new(),
            counters: Some(PxeCounters { dhcp_packets: 7, ..PxeCounters::default() }),
        }
    }

    fn pxe_leases(&self) -> Vec<PxeLease> {
        let released = self.released.lock().expect("not poisoned");
        let lease = |last: u8| PxeLease {
            address: [192, 0, 2, last].into(),
            mac: Some(MacAddress([0x52, 0x54, 0, 0, 0, last])),
            hostname: Some(format!("host-{last}")),
            state: if released.contains(&last) { LeaseState::Ended } else { LeaseState::Active },
            expires: Some(self.now()),
            reserved: false,
        };
        [100, 9].map(lease).into()
    }

    fn release_lease(&self, address: IpAddr) -> Answer<'_, ()> {
        let known = self.pxe_leases().iter().any(|lease| lease.address == address);
        let IpAddr::V4(address) = address else { return ready(Ok(())) };
        self.released.lock().expect("not poisoned").push(address.octets()[3]);
        let missing = || Problem::new(ProblemCode::NotFound, "nobody has it");
        ready(known.then_some(()).ok_or_else(missing))
    }

    fn pxe_boots(&self) -> Vec<MachineBoot> {
        vec![MachineBoot {
            mac: "52:54:00:00:00:01".parse().unwrap(),
            firmware: Some("BIOS PXE".to_owned()),
            address: None,
            form: None,
            image: None,
            under_way: true,
            stage: "was offered a boot file".to_owned(),
            percent: None,
            message: "offered ipxe/undionly.kpxe".to_owned(),
            failed: false,
            waits_for: None,
            next_step: None,
            last_seen: self.now(),
        }]
    }

    fn pxe_checks(&self) -> Vec<PxeCheck> {
        let text = "eth0 is there".to_owned();
        vec![PxeCheck { name: "interface".to_owned(), ok: true, text, next_step: None }]
    }

    fn pxe_capture(&self, _: MacAddress, _: u32) -> Result<(), Problem> {
        Ok(())
    }

    fn pxe_captured(&self, mac: MacAddress, from: usize) -> Option<CapturePart> {
        let known: MacAddress = "52:54:00:00:00:01".parse().unwrap();
        let data = if from == 0 { "1MOyoQ==" } else { "" }.to_owned();
        (mac == known).then(|| CapturePart { data, done: true, address: Some([198, 51, 100, 7].into()) })
    }

    fn wake(&self, _: MacAddress) -> Result<(), Problem> {
        Ok(())
    }

    fn pxe_events(&self, mac: Option<MacAddress>, since: u64) -> Vec<BootEvent> {
        let event = |seq: u64| BootEvent {
            seq,
            time: self.now(),
            mac: Some(MacAddress([0x52, 0x54, 0, 0, 0, u8::try_from(seq % 2).unwrap_or(0)])),
            code: "offered".to_owned(),
            message: String::new(),
        };
        (1..=4).map(event).filter(|e| e.seq > since && (mac.is_none() || mac == e.mac)).collect()
    }

    fn self_view(&self) -> SelfView {
        SelfView {
            name: Some(name("seed")),
            state: SelfState::Ready,
            detail: String::new(),
            cluster: None,
            ca_fingerprint: None,
            fingerprint: None,
            code: None,
            addresses: Vec::new(),
            api: Vec::new(),
            events: Vec::new(),
            version: "test".to_owned(),
            voters: Some(1),
            disks: None,
            work: Vec::new(),
            waits_for_unlock: Vec::new(),
            power_off: PowerOff::default(),
        }
    }

    fn network(&self) -> Answer<'_, NetworkView> {
        let view = NetworkView { cards: Vec::new(), trial: None, lasts: true, locked: None };
        Box::pin(std::future::ready(Ok(view)))
    }

    fn try_network(&self, change: NetworkChange) -> Answer<'_, NetworkView> {
        let mut problem = Problem::new(ProblemCode::BadRequest, "the network settings");
        problem.fields = resolve(&change.networks, &[]).expect_err("there is no card");
        Box::pin(std::future::ready(Err(problem)))
    }

    fn end_network_trial(&self, keep: bool) -> Answer<'_, NetworkView> {
        let nothing = Problem::new(ProblemCode::Conflict, "nothing is tried");
        if keep { Box::pin(std::future::ready(Err(nothing))) } else { self.network() }
    }
}
