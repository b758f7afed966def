//! A virtual rack: a LAN with a stock home router, a seed node beside it and QEMU machines that boot from it.
//!
//! Everything lives in network namespaces of its own, so the host's links, routes and firewall stay as they are. What
//! is started is written to a ledger first (see [`ledger`]): a rack that was killed is cleaned up by the next one.

pub mod accelerator;
pub mod boot_server;
pub mod card;
pub mod cgroup;
pub mod cluster;
pub mod cpio;
pub mod efi_variables;
pub mod firmware;
pub mod forward;
pub mod host;
pub mod interrupt;
pub mod lan;
pub mod ledger;
pub mod machine;
pub mod namespace;
pub mod paths;
pub mod played_host;
pub mod process;
pub mod progress;
pub mod qemu;
pub mod qmp;
pub mod rack;
pub mod router;
pub mod run_dir;
pub mod seed;
pub mod serial;
pub mod site;
pub mod subnet;
pub mod terminal;
pub mod tpm;
pub mod versions;
pub mod wait;

pub use firmware::Firmware;
pub use machine::Machine;

pub use rack::{Rack, RackConfig};
pub use site::Site;
