//! The DHCP server against RFC 2131, and what real clients and networks do beside it.

mod boots;
#[path = "../support/leases.rs"]
#[allow(missing_docs, unreachable_pub, dead_code, reason = "helpers of the tests in this folder")]
mod leases;
mod lifetime;
mod model;
mod networks;
#[path = "../support/packets.rs"]
#[allow(dead_code, reason = "helpers of the tests in this folder")]
mod packets;
mod states;

use std::net::Ipv4Addr;

use leases::Server;
use meadow_model::boot::BootPolicy;

const ACK: u8 = 5;
const NAK: u8 = 6;
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn server() -> Server {
    Server::new(BootPolicy::Ignore)
}
