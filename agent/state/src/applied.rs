//! What a command did.

use meadow_model::event::Event;
use meadow_model::{Kind, Name, Problem};
use serde::{Deserialize, Serialize};

/// A command that was accepted, and what it changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The applied index: the revision of the whole state after it.
    pub index: u64,
    /// The resources that were created, changed or removed; empty where nothing changed that a reader would see.
    pub changed: Vec<(Kind, Name)>,
    /// What was recorded.
    pub events: Vec<Event>,
    /// The answer to whoever proposed it.
    pub outcome: Outcome,
}

impl Applied {
    /// Turns a refusal that left an event behind ([`Outcome::Refused`]) into the problem that it is.
    ///
    /// # Errors
    /// The problem of the refusal.
    pub fn into_result(self) -> Result<Self, Problem> {
        match self.outcome {
            Outcome::Refused { problem } => Err(*problem),
            _ => Ok(self),
        }
    }
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Outcome {
    /// Done; there is nothing to tell.
    Done,
    /// This machine was seen, armed, rejected, or its boot policy was set.
    Machine {
        /// Its name.
        name: Name,
    },
    /// A claim, and where it stands.
    Claimed {
        /// The machine's name, what a person types.
        machine: Name,
        /// Where it stands.
        standing: Standing,
    },
    /// A machine was approved and is a node from now on.
    Enrolling {
        /// The machine.
        machine: Name,
        /// The node that it became.
        node: Name,
        /// The operation that ends with the node's first report; `None` where it is so old that it is forgotten.
        operation: Option<Name>,
    },
    /// A token was made.
    Token {
        /// Its id.
        name: Name,
    },
    /// This image was adopted.
    Image {
        /// Its name.
        name: Name,
    },
    /// Work has begun.
    Operation {
        /// The operation's name.
        name: Name,
    },
    /// It was refused, and that was worth an event.
    Refused {
        /// Why.
        problem: Box<Problem>,
    },
}

/// Where a claim stands that was not refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Standing {
    /// A person has to decide.
    Pending {
        /// Why it was not approved by itself, with the next step.
        reason: String,
    },
    /// It is a node.
    Approved {
        /// The node's name.
        node: Name,
    },
}
