//! Network boot without sockets, clocks or threads.
//!
//! Everything here is sans-IO: bytes and the current time go in, bytes and [events](event::EventKind)
//! come out. The crate `meadow-pxe` owns the sockets and files.
//!
//! Time is a [`std::time::Duration`] since any fixed, monotonic origin that the caller chooses.

mod allowance;
pub mod arch;
pub mod dhcp;
pub mod event;
pub mod http;
pub mod icmpv6;
pub mod pcap;
pub mod policy;
pub mod progress;
pub mod route;
pub mod script;
pub mod tftp;
pub mod wake;

pub use allowance::Allowance;
pub use arch::Firmware;
pub use event::{EventKind, Note};
pub use policy::{BootDecision, BootImage, ClientKind, Sighting};
