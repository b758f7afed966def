//! The root image: what it must be, how it gets into memory, and how it becomes the root.

mod device_mapper;
mod download;
mod handover;
mod loop_device;
mod mount;
mod spec;
mod switch;
mod verity;

pub use download::{Download, fetch};
pub use handover::{BootReport, Milestone, write as write_handover};
pub use mount::mount;
pub use spec::{RootSpec, SpecError};
pub use switch::switch_root;
pub use verity::{VerityError, table};
