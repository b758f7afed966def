//! The disks that hold parts of Meadow: by the names of their partitions, and nothing else is looked at.

mod gpt;
mod layout;
mod serial;
mod sysfs;

pub use layout::{Layout, layouts};
pub use serial::{same as same_serial, serial, with_serial};
pub use sysfs::{Partition, partitions};
