//! DHCP for a machine that has no address yet (RFC 2131), without sockets or clocks.
//!
//! [`Client`] decides, [`Request`] and [`Reply`] are the wire format, [`frame`] wraps them in the
//! IPv4 and UDP headers that a packet socket needs.

mod client;
pub mod frame;
mod lease;
mod reply;
mod request;

pub use client::{Client, Destination, Output, VENDOR_CLASS};
pub use lease::Lease;
pub use reply::{Reply, ReplyError, ReplyKind};
pub use request::{Request, RequestKind};

/// A hardware address of Ethernet.
pub type Mac = [u8; 6];

/// Writes a MAC address as `52:54:00:12:34:56`, or with another separator.
#[must_use]
pub fn format_mac(mac: Mac, separator: &str) -> String {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator)
}
