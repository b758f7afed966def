//! The boot server: sockets, files and tasks around [`meadow_netboot`].
//!
//! [`PxeServer::start`] serves interfaces beside the router's DHCP server of each, or, where that is switched on and
//! nobody else does, gives out the addresses itself. What concerns one interface is in its `Segment`; all share what is
//! known of machines, files, leases and the bounds (`Shared`). Which machine boots what comes from a [`Director`]; what
//! happens is kept as [`BootEvent`]s.

mod artifacts;
mod capture;
mod caretaker;
mod config;
mod conflict_probe;
mod counters;
mod culprit;
mod dhcp;
mod director;
mod durable_file;
mod event_log;
mod form_store;
mod full_dhcp;
mod http;
mod images;
mod interface;
mod interface_status;
mod lease_store;
mod lease_writer;
mod neighbours;
mod other_servers;
mod own_cards;
mod page_cache;
mod problem;
mod restraint;
mod router_advertisement;
mod segment;
mod server;
mod shared;
mod supervisor;
mod survey;
mod tftp;
mod throttle;
mod udp;
mod wake;
mod wire;

pub use artifacts::{ArtifactState, ArtifactStatus};
pub use capture::{CaptureError, CapturePart};
pub use config::{ConfigError, DEFAULT_COMMAND_LINE, DEFAULT_LEASE_FILE, Ports, PxeConfig};
pub use director::{BootEvent, Director};
pub use interface_status::InterfaceStatus;
pub use meadow_model::boot::PxeCounters;
pub use meadow_netboot as netboot;
pub use problem::{PROBLEM_CODES, Problem};
pub use server::{MachineStatus, PxeHandle, PxeServer, ReleaseError};
pub use survey::{HeardServer, SURVEY, Survey, firewall, survey};
