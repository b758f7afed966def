//! The course of a trial: tried, and then kept or taken back.
//!
//! What is kept lies in memory only, and on a node that boots from its disk in the record of that disk too. The state goes to
//! [`Stage::Keeping`] before the record is written: whoever comes after a crash knows from it that somebody confirmed, and
//! writes the record, and from [`Stage::Trying`] that nobody did, and goes back.

use meadow_model::network::CardNetwork;
use serde::{Deserialize, Serialize};

/// The settings of this start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What counts where nothing is tried.
    pub networks: Vec<CardNetwork>,
    /// What is tried.
    pub trial: Option<Trial>,
}

/// Settings that are tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// All settings.
    pub networks: Vec<CardNetwork>,
    /// When those before come back, in milliseconds since the kernel started.
    pub ends_ms: u64,
    /// How far it is.
    pub stage: Stage,
}

/// How far a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nobody has confirmed it.
    Trying,
    /// Somebody has; the record is being written.
    Keeping,
}

/// A step that cannot be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// Another trial runs.
    #[error(
        "other network settings are tried already; confirm them, take them back, or wait until they go by themselves"
    )]
    Trying,
    /// Nothing is tried.
    #[error(
        "no network settings are tried now, so there is nothing to confirm; they may have gone back by themselves: try them again"
    )]
    Nothing,
}

impl Kept {
    /// What the cards are to do now.
    #[must_use]
    pub fn in_force(&self) -> &[CardNetwork] {
        self.trial.as_ref().map_or(&self.networks, |trial| &trial.networks)
    }

    /// With a trial of `wanted` that ends at `ends_ms`.
    ///
    /// # Errors
    /// [`NotNow::Trying`]
    pub fn trying(&self, wanted: &[CardNetwork], ends_ms: u64) -> Result<Self, NotNow> {
        if self.trial.is_some() {
            return Err(NotNow::Trying);
        }
        let networks = super::merged(&self.networks, wanted);
        Ok(Self { trial: Some(Trial { networks, ends_ms, stage: Stage::Trying }), ..self.clone() })
    }

    /// With the trial confirmed.
    ///
    /// # Errors
    /// [`NotNow::Nothing`]
    pub fn keeping(&self) -> Result<Self, NotNow> {
        let trial = self.trial.clone().ok_or(NotNow::Nothing)?;
        Ok(Self { trial: Some(Trial { stage: Stage::Keeping, ..trial }), ..self.clone() })
    }

    /// Whether the trial was confirmed, and only has to be brought to its end.
    #[must_use]
    pub fn is_keeping(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.stage == Stage::Keeping)
    }

    /// With the trial ended: as it was tried where somebody confirmed it, and else as before.
    #[must_use]
    pub fn ended(&self) -> Self {
        let networks = if self.is_keeping() { self.in_force() } else { &self.networks };
        Self { networks: networks.to_vec(), trial: None }
    }
}
