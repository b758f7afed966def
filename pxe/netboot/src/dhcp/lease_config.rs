//! Settings of the DHCP server: which addresses it gives out, and what it says with them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use meadow_model::MacAddress;
use serde::{Deserialize, Serialize};

/// One subnet whose addresses are given out, as it is written in settings.
///
/// The subnet that holds the interface's own address serves that interface; any other one serves a relay agent whose
/// address it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// The subnet, such as `192.0.2.0/24`.
    pub subnet: String,
    /// First and last address to give out, such as `192.0.2.100-192.0.2.199`.
    pub pool: String,
    /// Routers, the preferred one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub router: Vec<Ipv4Addr>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<Ipv4Addr>,
    /// Time servers (NTP).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ntp: Vec<Ipv4Addr>,
    /// Domain of the clients' names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// How long a lease lasts, in seconds.
    #[serde(default = "half_a_day")]
    pub lease_seconds: u32,
    /// When clients renew (T1), in seconds; half the lease where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_seconds: Option<u32>,
    /// When clients ask anybody (T2), in seconds; seven eighths of the lease where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebind_seconds: Option<u32>,
    /// Further options: number to value in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Fixed addresses.
    #[serde(default, rename = "reservation", skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<Reservation>,
}

/// A machine that always gets the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// Its card.
    pub mac: MacAddress,
    /// Its address, in the subnet; it may lie in the pool.
    pub address: Ipv4Addr,
}

impl LeaseConfig {
    /// A subnet with nothing else said; its pool is empty, which is to be filled in.
    #[must_use]
    pub fn of(subnet: &str) -> Self {
        Self {
            subnet: subnet.to_owned(),
            pool: String::new(),
            router: Vec::new(),
            dns: Vec::new(),
            ntp: Vec::new(),
            domain: None,
            lease_seconds: half_a_day(),
            renew_seconds: None,
            rebind_seconds: None,
            options: BTreeMap::new(),
            reservations: Vec::new(),
        }
    }
}

fn half_a_day() -> u32 {
    12 * 3600
}

/// Settings of the DHCP server that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseConfigError {
    /// Not a subnet.
    #[error("{0:?} is not an IPv4 subnet of 8 to 30 bits; write it as 192.0.2.0/24, with all host bits zero")]
    Subnet(String),
    /// Not a pool of that subnet.
    #[error("the pool {pool:?} is not a range of at most 65536 host addresses in {subnet}; write it as FIRST-LAST")]
    Pool {
        /// As written.
        pool: String,
        /// Its subnet.
        subnet: String,
    },
    /// Two subnets share addresses.
    #[error("the subnet {0} overlaps another one; give each subnet once")]
    Overlap(String),
    /// A reservation that cannot be kept.
    #[error("the reservation of {0} for {1} is outside its subnet or is made twice; correct or remove it")]
    Reservation(Ipv4Addr, MacAddress),
    /// Times in the wrong order or out of range.
    #[error("lease times must be 60 s to 30 days, and renew < rebind < lease; got {renew}, {rebind} and {lease} s")]
    Times {
        /// T1.
        renew: u32,
        /// T2.
        rebind: u32,
        /// The lease.
        lease: u32,
    },
    /// Not a static option.
    #[error(
        "option {0:?} must be a number from 2 to 254 that the server does not set itself, with 1 to 128 bytes in hexadecimal"
    )]
    Option(String),
    /// Too many values in one option.
    #[error("{0}: at most 8 addresses, and a domain of at most 128 characters without spaces")]
    TooMuch(String),
    /// The options together do not fit a packet.
    #[error("the options of {0} are longer than 400 bytes together, which clients need not accept; remove some")]
    TooLong(String),
}
