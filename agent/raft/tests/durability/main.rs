//! What the replica promises about the disk, on a real file system: nothing acknowledged is lost, damage is noticed,
//! a full or failing disk refuses changes and loses nothing.

mod crash;
mod damage;
mod full_disk;
mod restart;
mod support;
