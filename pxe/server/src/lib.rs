//! The boot server: sockets, files and tasks around [`meadow_netboot`].
//!
//! [`PxeServer::start`] serves one interface beside the home router's DHCP server. Which machine
//! boots what comes from a [`Director`]; what happens is kept as [`BootEvent`]s.

mod artifacts;
mod capture;
mod config;
mod counters;
mod culprit;
mod dhcp;
mod director;
mod event_log;
mod http;
mod interface;
mod neighbours;
mod problem;
mod router_advertisement;
mod server;
mod shared;
mod supervisor;
mod tftp;
mod throttle;
mod udp;
mod wake;

pub use artifacts::{ArtifactState, ArtifactStatus};
pub use capture::{CaptureError, CapturePart};
pub use config::{ConfigError, DEFAULT_COMMAND_LINE, Ports, PxeConfig};
pub use counters::Counters;
pub use director::{BootEvent, Director};
pub use meadow_netboot as netboot;
pub use problem::Problem;
pub use server::{MachineStatus, PxeHandle, PxeServer};
