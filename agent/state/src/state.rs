//! The replicated state.

use meadow_model::cluster::Cluster;
use meadow_model::event::Event;
use meadow_model::image::{Image, Rollout};
use meadow_model::machine::Machine;
use meadow_model::mesh::WireGuardKey;
use meadow_model::node::Node;
use meadow_model::operation::Operation;
use meadow_model::token::Token;
use meadow_model::{Fingerprint, Name, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Outcome, Table};

/// Everything that the cluster agrees on. Changed by [`State::apply`] only; a copy costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(crate) revision: u64,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) machines: Table<Name, Machine>,
    pub(crate) nodes: Table<Name, Node>,
    pub(crate) tokens: Table<Name, Token>,
    pub(crate) operations: Table<Name, Operation>,
    pub(crate) events: Table<u64, Event>,
    #[serde(default)]
    pub(crate) images: Table<Name, Image>,
    #[serde(default)]
    pub(crate) rollout: Option<Rollout>,
    /// What the machines that asked to enrol brought beside what their resource shows.
    pub(crate) claims: Table<Name, ClaimKeys>,
    /// SHA-256 of the boot ticket of each armed machine.
    pub(crate) tickets: Table<Name, [u8; 32]>,
    /// The keys of the tokens that were not revoked.
    pub(crate) token_keys: Table<Name, Secret<[u8; 32]>>,
    pub(crate) revoked: Table<Fingerprint, Revocation>,
    /// Newest answers by the number in which they came.
    pub(crate) answers: Table<u64, Answer>,
    pub(crate) next_node: u64,
    pub(crate) next_operation: u64,
    pub(crate) next_event: u64,
    pub(crate) next_answer: u64,
    pub(crate) mesh_generation: u64,
}

/// What an approval needs of a claim and the machine's resource does not show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClaimKeys {
    pub(crate) wireguard: WireGuardKey,
    pub(crate) ephemeral: bool,
    pub(crate) wanted_name: Option<Name>,
}

/// A key that is refused from now on, because its node was removed or replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The node that it was.
    pub node: Name,
    /// When.
    pub at: Timestamp,
}

/// The answer to a proposal with an idempotency key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) key: String,
    pub(crate) actor: String,
    /// The command's name, so that a key used for something else is noticed.
    pub(crate) command: String,
    pub(crate) outcome: Outcome,
}

impl State {
    /// The index of the newest proposal that was applied; grows with every one, also with those that were refused.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The cluster, once `meadow init` has created it.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The machines by name.
    #[must_use]
    pub fn machines(&self) -> &Table<Name, Machine> {
        &self.machines
    }

    /// The nodes by name.
    #[must_use]
    pub fn nodes(&self) -> &Table<Name, Node> {
        &self.nodes
    }

    /// The join tokens by id.
    #[must_use]
    pub fn tokens(&self) -> &Table<Name, Token> {
        &self.tokens
    }

    /// The newest operations by name; their names sort by age.
    #[must_use]
    pub fn operations(&self) -> &Table<Name, Operation> {
        &self.operations
    }

    /// The newest events by their position in the history.
    #[must_use]
    pub fn events(&self) -> &Table<u64, Event> {
        &self.events
    }

    /// The images that the cluster adopted, by name.
    #[must_use]
    pub fn images(&self) -> &Table<Name, Image> {
        &self.images
    }

    /// The keys that are refused, each with the node that it was.
    #[must_use]
    pub fn revoked(&self) -> &Table<Fingerprint, Revocation> {
        &self.revoked
    }

    /// Grows with every change of [`State::mesh_view`] of any node.
    #[must_use]
    pub fn mesh_generation(&self) -> u64 {
        self.mesh_generation
    }

    /// What both ends derive from the secret of this token; `None` where it is unknown or was revoked. Whether it has
    /// expired or was used up is decided when a claim with it is applied.
    #[must_use]
    pub fn token_key(&self, id: &Name) -> Option<&Secret<[u8; 32]>> {
        self.token_keys.get(id)
    }
}
