//! The root image: what it must be, how it gets into memory, and how it becomes the root.

mod device_mapper;
mod download;
mod examine;
mod handover;
mod loop_device;
mod mount;
mod spec;
mod switch;
mod verity;

pub use download::{Artifact, Download, fetch};
pub use examine::{Verdict, examine};
pub use handover::{BootReport, LostState, Milestone, RootFrom, StateReport, write as write_handover};
pub use mount::{TARGET, mount, mount_partition};
pub use spec::{RootSpec, SpecError};
pub use switch::switch_root;
pub use verity::{VerityError, table};
