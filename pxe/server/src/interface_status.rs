//! An interface of the boot server, for a display.

use std::net::Ipv4Addr;

use serde::Serialize;

use crate::problem::Problem;
use crate::segment::Segment;

/// How an interface is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// The address that machines there are told; `None` while nothing is served.
    pub address: Option<Ipv4Addr>,
    /// Whether addresses are given out there now.
    pub leases: bool,
    /// What is not served there now.
    pub problems: Vec<Problem>,
}

impl InterfaceStatus {
    pub(crate) fn of(segment: &Segment) -> Self {
        let address = segment.address();
        Self {
            name: segment.name.clone(),
            address,
            leases: address.is_some_and(|address| segment.gives_leases(address)),
            problems: segment.problems(),
        }
    }
}
