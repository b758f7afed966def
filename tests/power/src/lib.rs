//! Power cuts without a machine or with one: the writes to a disk are recorded, and the disk is made anew as a cut at any
//! moment of them leaves it.

mod recorder;
mod write_log;

pub use recorder::Recorder;
pub use write_log::WriteLog;
