//! DHCP beside the home router: a proxyDHCP server (PXE 2.1, RFC 2131, RFC 4578) that gives out
//! boot files and never an address.

mod engine;
mod memory;
mod reply;
mod request;

pub use engine::{Outcome, Policy, ProxyDhcp, Receive, ServerConfig, ServerPort, Transmit};
pub use memory::{MAX_MACHINES, MachineView, STAGE_LIFETIME};
pub use reply::MAX_REPLY;
pub use request::{MessageKind, Request, RequestError, VendorClass};
