//! The helper with rights over disks: installs a node, writes images, keeps keys.
//!
//! `meadowd` keeps its sandbox and asks this over `/run/meadow/disks.sock`, one request a connection
//! (`docs/decisions/0006-installed-nodes.md`). Nothing is written but to the disk of a plan that somebody consented to,
//! or to partitions of ours on the disk of this node.

mod area;
mod bios;
mod copy;
mod error;
mod esp;
mod filesystem;
mod grubenv;
mod host_key;
mod image;
mod install;
mod keys;
mod left_mark;
mod machine;
mod mbr;
mod network;
mod network_here;
mod own_disk;
mod pass_on;
mod preboot_area;
mod program;
mod progress;
mod reinstall;
mod reset;
mod save;
mod serve;
mod slot;
mod ssh_keys;
mod stick;
mod table;
mod this_computer;
mod tpm_slot;
mod update;

pub use area::Area;
pub use error::DiskError;
pub use grubenv::GrubEnv;
pub use install::{Installed, install};
pub use machine::{Machine, Measured};
pub use network::NetworkHost;
pub use network_here::NetworkHere;
pub use progress::Progress;
pub use serve::serve;
pub use this_computer::ThisComputer;
