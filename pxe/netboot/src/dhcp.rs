//! DHCP: beside the home router a proxyDHCP server (PXE 2.1, RFC 2131, RFC 4578) that gives out boot files and never
//! an address, and, where it is switched on and nobody else does, a DHCP server that gives out both.

mod answer;
mod boot_server_question;
mod client_key;
mod datagram;
mod engine;
mod lease;
mod lease_config;
mod lease_reply;
mod lease_request;
mod lease_server;
mod lease_table;
mod lease_view;
mod memory;
mod other_server;
mod relay_info;
mod reply;
mod reply_route;
mod request;
mod silence;
mod subnet;
mod winners;

pub use boot_server_question::{ASKED, BootServerQuestion};
pub use client_key::ClientKey;
pub use datagram::{Outcome, Receive, ServerPort, Transmit};
pub use engine::{Policy, ProxyDhcp, ServerConfig};
pub use lease::LeaseRecord;
pub use lease_config::{LeaseConfig, LeaseConfigError, Reservation};
pub use lease_server::{LeaseAnswer, LeaseOutcome, LeaseServer};
pub use lease_view::LeaseView;
pub use memory::{MAX_MACHINES, MachineView, STAGE_LIFETIME};
pub use other_server::{OtherServer, probe};
pub use reply::MAX_REPLY;
pub use request::{MessageKind, Request, RequestError, VendorClass};
pub use silence::Silence;
pub use winners::{MAX_WINNERS, Winner};
