//! The only crate of Meadow that touches the operating system: files, the clock, entropy, network interfaces and
//! WireGuard.
//!
//! Everything above it is given values and hands back decisions; what is here carries them out, says exactly which
//! call failed, and can be run again at any time with the same result.

mod background;
pub mod cidr;
pub mod clock;
pub mod echo;
pub mod entropy;
pub mod files;
pub mod hosts;
pub mod incoming;
pub mod links;
pub mod memory;
pub mod piece_file;
pub mod resolver;
pub mod storage;
pub mod terminal;
pub mod wireguard;

pub use cidr::Cidr;
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, SystemEntropy};
