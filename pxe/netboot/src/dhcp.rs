//! DHCP beside the home router: a proxyDHCP server (PXE 2.1, RFC 2131, RFC 4578) that gives out
//! boot files and never an address.

mod answer;
mod datagram;
mod engine;
mod memory;
mod reply;
mod reply_route;
mod request;

pub use datagram::{Outcome, Receive, ServerPort, Transmit};
pub use engine::{Policy, ProxyDhcp, ServerConfig};
pub use memory::{MAX_MACHINES, MachineView, STAGE_LIFETIME};
pub use reply::MAX_REPLY;
pub use request::{MessageKind, Request, RequestError, VendorClass};
