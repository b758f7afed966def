//! The node's own, on an encrypted partition: found, opened by a person, mounted.
//!
//! All about LUKS is in `/sbin/unlock` (`initramfs/unlock`), a dynamic program; PID 1 starts it and waits.

mod probe;
mod upload;
mod volume;
mod wait;

pub use probe::{Found, Network, Probe, TpmTried, check_manifest, close_tpm, probe, try_tpm};
pub use upload::UploadTurn;
pub use volume::{MAPPED, mount, move_into_root};
pub use wait::{Opened, ask, opened};

/// The program.
const PROGRAM: &str = "/sbin/unlock";
