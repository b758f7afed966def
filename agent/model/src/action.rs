//! The names of what operations on nodes do; each task has one ([`crate::work::NodeTask::action`]).

/// An installation.
pub const INSTALL: &str = "install";
/// A change of key slots, or a backup of them.
pub const KEYS: &str = "keys";
/// A restart.
pub const REBOOT: &str = "reboot";
/// A factory reset; once a node says that it has erased itself, it is none any more.
pub const RESET: &str = "reset";
/// A reinstallation from the network: while it runs, the node's computer is booted over the network, and when it has ended,
/// however, it is left to its own disk.
pub const REINSTALL: &str = "reinstall";
/// An update from a stick.
pub const UPDATE: &str = "update";
/// Writing a support bundle.
pub const SUPPORT: &str = "support";
/// Writing an image into the slot that does not run.
pub const WRITE_IMAGE: &str = "write-image";
/// Restarting into an image once.
pub const TRY_IMAGE: &str = "try-image";
/// Keeping the image that runs.
pub const BLESS_IMAGE: &str = "bless-image";
/// Trying network settings.
pub const TRY_NETWORK: &str = "try-network";
/// Keeping network settings.
pub const CONFIRM_NETWORK: &str = "confirm-network";
/// Taking network settings back.
pub const NETWORK_BACK: &str = "network-back";

/// All that a node does as work that it was given.
pub const OF_NODES: [&str; 13] = [
    INSTALL,
    KEYS,
    REBOOT,
    RESET,
    REINSTALL,
    UPDATE,
    SUPPORT,
    WRITE_IMAGE,
    TRY_IMAGE,
    BLESS_IMAGE,
    TRY_NETWORK,
    CONFIRM_NETWORK,
    NETWORK_BACK,
];
