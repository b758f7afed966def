//! A node, as far as a rollout looks at it.

use std::fmt;

use meadow_model::Name;

/// How a node is, judged by the caller, who has a clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its agent runs, it sees a quorum, the mesh is up.
    Healthy,
    /// Not yet, and there is still time: why.
    Pending(String),
    /// Not, and the time is over: why.
    Failed(String),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Pending(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

/// A node, its images by digest, and how it is. One that boots over the network is none of these: it runs what its boot server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeImage {
    /// The node.
    pub name: Name,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it leads the voters now; it is taken last.
    pub leader: bool,
    /// The image that it runs.
    pub running: Option<String>,
    /// The image in the slot that is booted from now on.
    pub blessed: Option<String>,
    /// The image in the slot that does not run.
    pub other: Option<String>,
    /// Whether it was told to restart into the image and has not reported from it yet.
    pub trying: bool,
    /// The image that it tried last and went back from.
    pub went_back_from: Option<String>,
    /// Whether this rollout gave it work. One that had the image before and is switched off keeps nobody waiting.
    pub touched: bool,
    /// How it is.
    pub health: Health,
}

impl NodeImage {
    pub(super) fn runs(&self, image: &str) -> bool {
        self.running.as_deref() == Some(image)
    }
}
