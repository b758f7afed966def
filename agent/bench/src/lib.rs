//! What a computer is made of, and a first measure of how fast it is.
//!
//! The inventory is read from sysfs, procfs and udev; no disk is ever opened for writing. The measures take less than
//! ten seconds and touch no disk but by a file of ours in the state folder, where that lies on one.

pub mod inventory;
pub mod measure;

pub use inventory::{InventoryError, inventory};
pub use measure::{Effort, measure};
