//! The helper with rights over disks.
