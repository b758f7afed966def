//! The commands that change the replicated state.

use std::net::{IpAddr, SocketAddr};

use meadow_model::boot::{BootOptions, BootPolicy, LostState};
use meadow_model::code::VerificationCode;
use meadow_model::hardware::{Hardware, Measures};
use meadow_model::image::ImageSpec;
use meadow_model::install::InstalledDisk;
use meadow_model::mesh::WireGuardKey;
use meadow_model::{Fingerprint, Kind, MacAddress, Name, Secret, Timestamp};
use serde::{Deserialize, Serialize};

/// A command with who proposes it and when: all that `apply` may know of the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// When it was proposed, by the proposer's clock.
    pub at: Timestamp,
    /// Who: `user <name>`, `node <name>`, `machine <fingerprint>`, `pxe` or `meadow`.
    pub actor: String,
    /// Repeating a proposal with the same key gives the first answer again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What to do.
    pub command: Command,
}

/// A change of the replicated state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// Creates the cluster with its first node. Done again with the same CA it changes nothing.
    Bootstrap(Box<Bootstrap>),
    /// The PXE server saw a machine that nobody knows, or that has other processors than it is known for.
    SeeMachine {
        /// Its hardware address.
        mac: MacAddress,
        /// The firmware's architecture in words, such as `x64 UEFI`.
        arch: String,
        /// The processors that it is for, as Rust names them, where it tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        architecture: Option<String>,
    },
    /// Sets what the PXE server does with a machine; creates the machine where the MAC is new.
    SetBoot {
        /// Which machine.
        machine: MachineRef,
        /// What it is told.
        boot: BootPolicy,
        /// Whether an iPXE in its ROM is treated as plain PXE.
        plain_pxe: bool,
        /// What it is given beside that.
        #[serde(default)]
        options: BootOptions,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// A machine has taken what it was to get once.
    BootedOnce {
        /// Its network card.
        mac: MacAddress,
    },
    /// Arms the next boot of a machine with a ticket (given as its SHA-256) and sets its boot policy to `image`.
    Arm {
        /// Which machine.
        machine: MachineRef,
        /// SHA-256 of the ticket.
        ticket_hash: [u8; 32],
        /// Until when it is good.
        expires: Timestamp,
        /// The name that the node gets; chosen by the cluster where absent.
        node: Option<Name>,
        /// The lost node whose name and address it takes over.
        replaces: Option<Name>,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// Boots every machine that asks, until then; `None` closes the window.
    OpenPxe {
        /// Until when.
        until: Option<Timestamp>,
    },
    /// These are the admins' SSH keys from now on.
    SetSshKeys {
        /// In OpenSSH form.
        keys: Vec<String>,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// A machine asks to enrol, or asks again. What it showed has been checked by the enrolment protocol.
    Claim(Box<ClaimRecord>),
    /// Lets a machine become a node.
    Approve {
        /// Which machine.
        machine: Name,
        /// The name that the node gets; chosen by the cluster where absent.
        node: Option<Name>,
        /// The lost node whose name and address it takes over.
        replaces: Option<Name>,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// Turns a machine away.
    Reject {
        /// Which machine.
        machine: Name,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// Makes a join token; `key` is what both ends derive from its secret.
    CreateToken {
        /// Its id.
        id: Name,
        /// What both ends derive from its secret.
        key: Secret<[u8; 32]>,
        /// Until when it is good.
        expires: Timestamp,
        /// How many machines it lets in.
        uses: u32,
    },
    /// Takes a token back.
    RevokeToken {
        /// Its id.
        id: Name,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// Where a node's mesh packets come from has changed.
    SetEndpoint {
        /// Which node.
        node: Name,
        /// The address and port.
        endpoint: SocketAddr,
    },
    /// The first report of a node has come: its enrolment is done.
    NodeJoined {
        /// Which node.
        node: Name,
        /// The version of its agent.
        version: String,
    },
    /// A node says what its own disk is, and whether its state survives a restart.
    SetNodeDisk {
        /// Which node.
        node: Name,
        /// The disk that it is installed on, or that its state lies on.
        installed: Option<Box<InstalledDisk>>,
        /// Whether its state survives a restart.
        durable: bool,
    },
    /// Work that takes a while begins.
    StartOperation {
        /// Which work, such as `install`. No two of one action run for one target at once.
        action: String,
        /// The kind of the resource that it works on.
        kind: Kind,
        /// The name of that resource.
        target: Name,
        /// What is done first.
        step: String,
    },
    /// Work goes on, or ends.
    NoteOperation {
        /// Which operation.
        operation: Name,
        /// What is done now, or was done last.
        step: String,
        /// How it ended; `None` while it goes on.
        end: Option<OperationEnd>,
    },
    /// The cluster wants to be able to run an image, whose files this voter has.
    AdoptImage {
        /// Its name.
        name: Name,
        /// What it is.
        spec: Box<ImageSpec>,
    },
    /// Forgets an image.
    RemoveImage {
        /// Its name.
        name: Name,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// Every installed node is to run the image with this digest.
    StartRollout {
        /// [`ImageSpec::digest`]; one that was not adopted is taken from the nodes' other slots.
        digest: String,
        /// Also where a newer one was rolled out before, or a node runs a newer one.
        allow_older: bool,
        /// Also where no majority of the voters is left while one restarts.
        without_majority: bool,
    },
    /// The rollout has come to its end, or cannot go on.
    EndRollout {
        /// The operation that it is.
        operation: Name,
        /// How.
        end: OperationEnd,
    },
    /// Ends the rollout that runs where it is; nodes that do not run its image yet are left out.
    CallOffRollout,
    /// Takes a node out of the cluster; its key is refused from then on.
    RemoveNode {
        /// Which node.
        node: Name,
        /// Refused where the resource has another revision by now.
        if_match: Option<u64>,
    },
    /// A node has erased itself: it is taken out, and its computer is a new machine.
    NodeReset {
        /// Which node.
        node: Name,
    },
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationEnd {
    /// As it was wanted.
    Succeeded,
    /// Not.
    Failed {
        /// Why, with the next step.
        why: String,
    },
}

/// A machine, by its name or by a MAC address that may be unknown so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineRef {
    /// An existing machine.
    Name(Name),
    /// The machine with this MAC address, created where there is none.
    Mac(MacAddress),
}

/// What creates the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The cluster's name.
    pub cluster: Name,
    /// Its CA.
    pub ca_fingerprint: Fingerprint,
    /// Admins' public keys in OpenSSH form.
    pub authorized_keys: Vec<String>,
    /// As in [`meadow_model::cluster::ClusterSpec::release_key`].
    #[serde(default)]
    pub release_key: String,
    /// The first node, a voter.
    pub node: FirstNode,
    /// The window that `meadow init` opens, if any.
    pub pxe_open_until: Option<Timestamp>,
}

/// The first node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstNode {
    /// Its name.
    pub name: Name,
    /// Its identity.
    pub fingerprint: Fingerprint,
    /// Its key in the mesh.
    pub wireguard: WireGuardKey,
    /// Where it is reached by the mesh.
    pub endpoint: Option<SocketAddr>,
    /// Its inventory.
    pub hardware: Option<Hardware>,
    /// Its first measures.
    pub measures: Option<Measures>,
}

/// A claim whose cryptography has been checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// The machine's identity.
    pub fingerprint: Fingerprint,
    /// What its console shows.
    pub code: VerificationCode,
    /// What it brought to be let in.
    pub credential: Credential,
    /// Where it asked from.
    pub address: IpAddr,
    /// Its key in the mesh.
    pub wireguard: WireGuardKey,
    /// The hardware address it booted from, or its first one.
    pub mac: Option<MacAddress>,
    /// Inventory.
    pub hardware: Hardware,
    /// First measures.
    pub measures: Option<Measures>,
    /// Whether it has no durable state.
    pub ephemeral: bool,
    /// The name it would like.
    pub wanted_name: Option<Name>,
    /// The node whose state was lost on it, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostState>,
}

/// What a machine brought to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// Nothing: a person decides.
    None,
    /// A boot ticket, as its SHA-256.
    Ticket([u8; 32]),
    /// A join token that both sides have proved to know.
    Token(Name),
}

impl Command {
    /// The name of the command, as in its serialized form.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bootstrap(_) => "bootstrap",
            Self::SeeMachine { .. } => "see-machine",
            Self::SetBoot { .. } => "set-boot",
            Self::BootedOnce { .. } => "booted-once",
            Self::Arm { .. } => "arm",
            Self::OpenPxe { .. } => "open-pxe",
            Self::SetSshKeys { .. } => "set-ssh-keys",
            Self::Claim(_) => "claim",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::CreateToken { .. } => "create-token",
            Self::RevokeToken { .. } => "revoke-token",
            Self::SetEndpoint { .. } => "set-endpoint",
            Self::NodeJoined { .. } => "node-joined",
            Self::SetNodeDisk { .. } => "set-node-disk",
            Self::StartOperation { .. } => "start-operation",
            Self::NoteOperation { .. } => "note-operation",
            Self::AdoptImage { .. } => "adopt-image",
            Self::RemoveImage { .. } => "remove-image",
            Self::StartRollout { .. } => "start-rollout",
            Self::EndRollout { .. } => "end-rollout",
            Self::CallOffRollout => "call-off-rollout",
            Self::RemoveNode { .. } => "remove-node",
            Self::NodeReset { .. } => "node-reset",
        }
    }
}
