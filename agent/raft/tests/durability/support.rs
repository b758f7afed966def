//! Proposals, and children that run one test in a process of their own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command as Process;

use meadow_model::boot::{BootOptions, BootPolicy};
use meadow_model::code::VerificationCode;
use meadow_model::hardware::Hardware;
use meadow_model::mesh::WireGuardKey;
use meadow_model::{Fingerprint, MacAddress, Name, Problem, Timestamp};
use meadow_raft::{Replica, ReplicaConfig, ReplicaHandle, StoreError};
use meadow_state::State;
use meadow_state::command::{Bootstrap, ClaimRecord, Command, Credential, FirstNode, MachineRef, Proposal};

/// The folder that a child works in.
pub(crate) const FOLDER: &str = "MEADOW_TEST_FOLDER";

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

pub(crate) fn proposal(command: Command) -> Proposal {
    let at = Timestamp::from_millis(1_800_000_000_000);
    Proposal { at, actor: "user ann".to_owned(), idempotency_key: None, command }
}

pub(crate) fn bootstrap() -> Proposal {
    proposal(Command::Bootstrap(Box::new(Bootstrap {
        cluster: name("home"),
        ca_fingerprint: Fingerprint([1; 32]),
        authorized_keys: Vec::new(),
        release_key: String::new(),
        node: FirstNode {
            name: name("seed"),
            fingerprint: Fingerprint([2; 32]),
            wireguard: WireGuardKey([3; 32]),
            endpoint: None,
            hardware: None,
            measures: None,
        },
        pxe_open_until: None,
    })))
}

pub(crate) fn mac(number: u32) -> MacAddress {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddress([0x52, 0x54, a, b, c, d])
}

/// Names the machine `number`.
pub(crate) fn set_boot(number: u32) -> Proposal {
    let machine = MachineRef::Mac(mac(number));
    proposal(Command::SetBoot {
        machine,
        boot: BootPolicy::Image,
        plain_pxe: false,
        options: BootOptions::default(),
        if_match: None,
    })
}

/// Whether the machine `number` is in the state.
pub(crate) fn has(state: &State, number: u32) -> bool {
    state.machine(&MachineRef::Mac(mac(number))).is_some()
}

/// A claim of the machine `number` with an inventory of about `size` bytes.
pub(crate) fn claim(number: u32, size: usize) -> Proposal {
    let mut key = [9; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let fingerprint = Fingerprint(key);
    proposal(Command::Claim(Box::new(ClaimRecord {
        fingerprint,
        code: VerificationCode::compute(&fingerprint, &fingerprint, &key, &key),
        credential: Credential::None,
        address: Ipv4Addr::LOCALHOST.into(),
        wireguard: WireGuardKey(key),
        mac: Some(mac(number)),
        hardware: Hardware { product: Some("x".repeat(size)), ..Hardware::default() },
        measures: None,
        ephemeral: true,
        wanted_name: None,
        lost: None,
    })))
}

/// Opens a replica that makes a snapshot often.
pub(crate) fn open(folder: &Path) -> Result<ReplicaHandle, StoreError> {
    Replica::open(folder, ReplicaConfig { snapshot_every: 20, ..ReplicaConfig::new(1) })
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime")
}

pub(crate) async fn propose_all(replica: &ReplicaHandle, numbers: std::ops::Range<u32>) -> Result<(), Problem> {
    for number in numbers {
        replica.propose(set_boot(number)).await?;
    }
    Ok(())
}

/// This test program, to run only the ignored test `test`, with `folder` to work in; through `wrapper`, a command that
/// takes the program and its arguments as its own last ones.
pub(crate) fn child(wrapper: &[&str], test: &str, folder: &Path) -> Process {
    let program = std::env::current_exe().expect("the path of this program");
    let mut words = wrapper.iter().copied();
    let mut process = match words.next() {
        Some(first) => {
            let mut process = Process::new(first);
            process.args(words).arg(program);
            process
        }
        None => Process::new(program),
    };
    process.args(["--ignored", "--exact", "--nocapture", test]).env(FOLDER, folder);
    process
}

/// Runs a child to its end, and fails with what it wrote if it failed.
pub(crate) fn run_child(wrapper: &[&str], test: &str, folder: &Path) {
    let output = child(wrapper, test, folder).output().expect("the child starts; it needs util-linux and root");
    assert!(
        output.status.success(),
        "{test} failed\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The folder that the parent gave to this child.
pub(crate) fn child_folder() -> std::path::PathBuf {
    std::env::var_os(FOLDER).expect("run by another test, which names the folder").into()
}
